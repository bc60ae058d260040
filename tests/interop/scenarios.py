"""SIPp scenarios: the caller's messages as blocks that the tests put together."""

from __future__ import annotations


def _send(start: str, number: int, method: str, *, tag: str, body: str = "", retrans: bool) -> str:
    repeated = ' retrans="500"' if retrans else ""
    kind = "Content-Type: application/sdp\n" if body else ""
    return f"""
<send{repeated}><![CDATA[
{start} sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[pid]SIPpTag[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {number} {method}
Contact: sip:sipp@[local_ip]:[local_port]
Max-Forwards: 70
{kind}Content-Length: [len]

{body}]]></send>"""


OFFER = """v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio {port} RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""


def invite(port: int | str = "[media_port]") -> str:
    return _send(
        "INVITE", 1, "INVITE", tag="", body=OFFER.replace("{port}", str(port)), retrans=True
    )


def cancel() -> str:
    # Same branch as the INVITE: SIPp keeps it until the next response is expected.
    return _send("CANCEL", 1, "CANCEL", tag="", retrans=True).replace("[branch]", "[branch-3]")


def ack(*, failure: bool = False) -> str:
    text = _send("ACK", 1, "ACK", tag="[peer_tag_param]", retrans=False)
    return text.replace("[branch]", "[branch-5]") if failure else text


def bye() -> str:
    return _send("BYE", 2, "BYE", tag="[peer_tag_param]", retrans=True)


def receive(status: int, *, optional: bool = False) -> str:
    maybe = ' optional="true"' if optional else ""
    return f'<recv response="{status}"{maybe}/>'


def receive_bye(timeout: int) -> str:
    return (
        f'<recv request="BYE" timeout="{timeout}"/>'
        + """
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>"""
    )


def pause(milliseconds: int) -> str:
    return f'<pause milliseconds="{milliseconds}"/>'
