"""Descriptions as real user agents write them, and a builder for the rest."""

from __future__ import annotations

__all__ = ["BARESIP", "SIPP_PCAP", "SIPP_UAC", "description"]

SIPP_UAC = (
    b"v=0\r\n"
    b"o=user1 53655765 2353687637 IN IP4 192.0.2.9\r\n"
    b"s=-\r\n"
    b"c=IN IP4 192.0.2.9\r\n"
    b"t=0 0\r\n"
    b"m=audio 6000 RTP/AVP 0\r\n"
    b"a=rtpmap:0 PCMU/8000\r\n"
)

# uac_pcap: over IPv6 SIPp puts brackets into c=, and a blank line ends the body.
SIPP_PCAP = (
    b"v=0\r\n"
    b"o=user1 53655765 2353687637 IN IP6 [2001:db8::9]\r\n"
    b"s=-\r\n"
    b"c=IN IP6 [2001:db8::9]\r\n"
    b"t=0 0\r\n"
    b"m=audio 6001 RTP/AVP 8 101\r\n"
    b"a=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-11,16\r\n"
    b"\r\n"
)

BARESIP = (
    b"v=0\r\n"
    b"o=- 3265784673 1043583912 IN IP4 192.0.2.9\r\n"
    b"s=-\r\n"
    b"c=IN IP4 192.0.2.9\r\n"
    b"t=0 0\r\n"
    b"a=tool:baresip 1.0.0\r\n"
    b"m=audio 21234 RTP/AVP 96 97 0 8 101\r\n"
    b"b=AS:125\r\n"
    b"a=rtpmap:96 opus/48000/2\r\n"
    b"a=fmtp:96 stereo=1;sprop-stereo=1\r\n"
    b"a=rtpmap:97 speex/16000\r\n"
    b"a=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-15\r\n"
    b"a=rtcp:21235\r\n"
    b"a=rtcp-mux\r\n"
    b"a=sendrecv\r\n"
    b"a=label:1\r\n"
    b"a=rtcp-rsize\r\n"
    b"a=ssrc:3411723311 cname:sip:a@192.0.2.9\r\n"
    b"a=ptime:20\r\n"
    b"m=video 21236 RTP/AVP 102\r\n"
    b"b=AS:512\r\n"
    b"a=rtpmap:102 H264/90000\r\n"
    b"a=sendrecv\r\n"
)


def description(
    *media: str, ip: str = "192.0.2.9", version: int = 1, session: str = "", times: str = "0 0"
) -> bytes:
    """A description with these m-lines (and the lines below them, separated by spaces of \\n)."""
    family = "IP6" if ":" in ip else "IP4"
    head = f"v=0\no=- 42 {version} IN {family} {ip}\ns=-\nc=IN {family} {ip}\nt={times}\n{session}"
    return (head + "".join(f"m={line}\n" for line in media)).replace("\n", "\r\n").encode()
