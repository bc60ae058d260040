"""What several tests of the SIP readers share: hostile pieces and an INVITE."""

from __future__ import annotations

import os
from types import ModuleType

from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest

from sessioncore.sip.message import Request, Response, parse_message

__all__ = [
    "INVITE",
    "RESPONSE",
    "modest",
    "need_compiled",
    "request",
    "response",
    "soup",
    "token",
    "with_lines",
]

modest = settings(max_examples=150)
PIECES = [
    b"sip:", b"sips:", b"tel:", b"a", b"example.com", b"@", b":", b"5060", b"[::1]", b"[", b"]",
    b";", b"=", b"tag", b"branch", b"rport", b"received", b"<", b">", b'"', b"\\", b",", b" ",
    b"\t", b"%41", b"%", b"?", b"SIP/2.0/UDP ", b"/", b"1", b"0", b"INVITE", b"\x00", b"\xff",
    b"*", b"z9hG4bK", b":::", b".", b"-", b"#", b"&", b"1_0", b"+5",
]  # fmt: skip
soup = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join) | st.binary(max_size=40)
token = st.text("ABCabc019-.!%*_+`'~", min_size=1, max_size=12).map(str.encode)
INVITE = b"""\
INVITE sip:service@10.0.0.1:5060 SIP/2.0\r
Via: SIP/2.0/UDP 10.0.0.2:5061;branch=z9hG4bK-1;rport\r
From: "Alice" <sip:alice@10.0.0.2>;tag=88sja8x\r
To: <sip:service@10.0.0.1:5060>\r
Call-ID: 987asjd97y7atg\r
CSeq: 986759 INVITE\r
Contact: <sip:alice@10.0.0.2:5061>\r
Max-Forwards: 70\r
Record-Route: <sip:p1;lr>, <sip:p2;lr>\r
Content-Type: application/sdp\r
Content-Length: 4\r
\r
v=0\n"""
RESPONSE = INVITE.replace(b"INVITE sip:service@10.0.0.1:5060 SIP/2.0", b"SIP/2.0 180 Ringing")


def request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def response(data: bytes) -> Response:
    message = parse_message(data)
    assert isinstance(message, Response)
    return message


def with_lines(*lines: bytes, without: bytes = b"") -> bytes:
    """The INVITE without body and some header, with further lines before its end."""
    head = INVITE.partition(b"Content-Type")[0].split(b"\r\n")[:-1]
    kept = [line for line in head if not without or not line.startswith(without)]
    return b"\r\n".join([*kept, *lines, b"", b""])


def need_compiled(module: ModuleType | None) -> None:
    """Skip a test where nothing was compiled; where nothing may be skipped, fail."""
    if module is None:
        reason = "it was not compiled"
        if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
            raise AssertionError(reason)
        raise SkipTest(reason)
