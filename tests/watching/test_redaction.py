"""Secrets are overwritten, all else stays, and no message takes long."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.testing import messages
from sessioncore.watching.redaction import redacted

LINES = {
    b'Authorization: Digest username="bob", realm="a, b",\r\n response="HIDE", cnonce="HIDE"': (
        b'Authorization: Digest username="bob", realm="a, b",\r\n response="****", cnonce="****"'
    ),
    b'Proxy-Authorization:Digest response=HIDE,realm="r"': (
        b'Proxy-Authorization:Digest response=****,realm="r"'
    ),
    b'AUTHORIZATION : digest response = "HIDE", username="al\\"ice"': (
        b'AUTHORIZATION : digest response = "****", username="al\\"ice"'
    ),
    b'Authorization: Digest response="HIDE\\"HIDE", realm="r"': (
        b'Authorization: Digest response="*****"****", realm="r"'
    ),
    b'Authorization: Digest username="bob", response="HIDE': (
        b'Authorization: Digest username="bob", response="****'
    ),
    b"Authorization: Basic HIDE==": (b"Authorization: Basic ****=="),
    b'Authorization: Basic realm="HIDE"': (b'Authorization: Basic *****="****"'),
    b"Authorization: Bearer\r\n\tHIDE": (b"Authorization: Bearer\r\n\t****"),
    b"Authorization: HIDE": (b"Authorization: ****"),
    b'Authorization: HIDE="HIDE"': (b'Authorization: ****="****"'),
    b'WWW-Authenticate: Digest realm="r", nonce="n", ck="HIDE", ik="HIDE", qop="auth"': (
        b'WWW-Authenticate: Digest realm="r", nonce="n", ck="****", ik="****", qop="auth"'
    ),
    b'Proxy-Authenticate: Digest realm="r", nonce="n", algorithm=MD5, stale=true': (
        b'Proxy-Authenticate: Digest realm="r", nonce="n", algorithm=MD5, stale=true'
    ),
    b'Authentication-Info: nextnonce="n", rspauth="HIDE", qop=auth': (
        b'Authentication-Info: nextnonce="n", rspauth="****", qop=auth'
    ),
    b'Proxy-Authentication-Info: rspauth="HIDE"': (b'Proxy-Authentication-Info: rspauth="****"'),
    b"From: <sip:bob:HIDE@192.0.2.1>;tag=1": (b"From: <sip:bob:****@192.0.2.1>;tag=1"),
    b"Contact:SIPS:bob:HIDE@h:5061": (b"Contact:SIPS:bob:****@h:5061"),
    b"Refer-To: <sip:bob:HIDE;HIDE@h>, <sip:a@h>": (b"Refer-To: <sip:bob:*********@h>, <sip:a@h>"),
    b"Call-Info: <https://u:HIDE@h/x:y>": (b"Call-Info: <https://u:****@h/x:y>"),
    b"To: <sip:bob@h:5060>": (b"To: <sip:bob@h:5060>"),
    b"Call-ID: a:b@host": (b"Call-ID: a:b@host"),
    b"X-Authorization: Digest response=1": (b"X-Authorization: Digest response=1"),
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:HIDE|2^20|1:4;inline:HIDE|1:4 WSH=64": (
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:****|2^20|1:4;inline:****|1:4 WSH=64"
    ),
    b"a=crypto:2 OTHER method:HIDE HIDE": (b"a=crypto:2 OTHER ****************"),
    b"A=CRYPTO:3 X INLINE:HIDE": (b"A=CRYPTO:3 X INLINE:****"),
    b"k=clear:HIDE": (b"k=clear:****"),
    b"k=base64:HIDE": (b"k=base64:****"),
    b"k=HIDE": (b"k=****"),
    b"a=ice-pwd:HIDE": (b"a=ice-pwd:****"),
    b"a=key-mgmt:mikey HIDE": (b"a=key-mgmt:mikey ****"),
    b"a=crypto-like:1 x y": (b"a=crypto-like:1 x y"),
}
"""Lines, and what is left of them; HIDE is what must not be seen."""


class RedactionTests(SynchronousTestCase):
    def test_each_secret(self) -> None:
        for line, left in LINES.items():
            self.assertNotIn(b"HIDE", left)
            for before, after in ((b"", b""), (b"A: b\r\n", b"\r\nC: d\r\n\r\nv=0\r\n")):
                self.assertEqual(redacted(before + line + after), before + left + after)

    def test_the_usual_credentials(self) -> None:
        self.assertEqual(
            redacted(
                b'Authorization: Digest username="bob", realm="r", nonce="n", uri="sip:h",\r\n'
                b' response="0af3", cnonce="7", qop=auth, nc=00000001'
            ),
            b'Authorization: Digest username="bob", realm="r", nonce="n", uri="sip:h",\r\n'
            b' response="****", cnonce="*", qop=auth, nc=00000001',
        )

    def test_a_usual_call_stays_as_it_is(self) -> None:
        for message in (
            messages.invite(body=messages.offer("192.0.2.1")),
            messages.ack(),
            messages.bye(),
            messages.options(),
        ):
            self.assertEqual(redacted(message), message)

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(
        st.lists(
            st.sampled_from(
                [*LINES, b"\r\n", b"\n", b"\r", b" ", b"@", b":", b'"', b"sip:", b"inline:", b"k="]
            )
            | st.binary(max_size=4)
        ).map(b"".join)
    )
    def test_lengths_stay_and_twice_is_once(self, message: bytes) -> None:
        got = redacted(message)
        self.assertEqual(len(got), len(message))
        self.assertEqual(redacted(got), got)
