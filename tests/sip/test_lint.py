"""Every finding in a message, each found in one that is made for it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.lint import MESSAGE_RULES, SeenMessage, lint_message
from sessioncore.sip.message import parse_message
from sessioncore.testing import messages
from sessioncore.testing.messages import Caller
from sessioncore.vocabulary import Address

PUBLIC, OTHER = ("203.0.113.9", 61_000), ("192.0.2.2", 5060)
NATTED = Caller(local=("192.168.1.7", 5060), rport=False)
INVITE = messages.invite(Caller(rport=False))
LONG = ("Content-Length", "9999")
LOOSE, STRICT = "<sip:192.0.2.7;lr>", "<sip:192.0.2.7>"


def seen(
    raw: bytes, source: Address | None = None, destination: Address | None = None,
    *, on_stream: bool = False,
) -> SeenMessage:  # fmt: skip
    """A message as the command reads it."""
    problem = None
    try:
        message = parse_message(raw)
    except SipParseError as error:
        message, problem = error.request, str(error)
    return SeenMessage(message, raw, problem, source, destination, on_stream)


def success(to: bytes = INVITE, **given: object) -> bytes:
    return messages.response(to, 200, "OK", body=messages.offer(), **given)  # type: ignore[arg-type]


FINDINGS = {
    "broken-message": (seen(b"hello\r\n\r\n"),
                       seen(INVITE.replace(b"SIP/2.0\r\n", b"SIP/3.0\r\n", 1))),
    "content-length-too-long": (seen(messages.invite(headers=[LONG])),
                                seen(INVITE[:-10]), seen(messages.bye(headers=[LONG]))),
    "incomplete-message": (seen(messages.invite(without=["Call-ID"])),
                           seen(messages.invite(headers=[("CSeq", "1 BYE")]))),
    "no-content-length": (seen(messages.invite(without=["Content-Length"]), on_stream=True),),
    "no-contact": (seen(messages.invite(without=["Contact"])), seen(success(contact=None))),
    "content-length-too-short": (seen(messages.invite(headers=[("Content-Length", "20")])),),
    "private-contact": (seen(messages.invite(NATTED), PUBLIC),
                        seen(success(contact=("10.0.0.1", 5060)), PUBLIC)),
    "private-via": (seen(messages.options(NATTED), PUBLIC),),
    "no-received": (seen(success(), None, PUBLIC),),
    "rport-without-value": (seen(success(messages.invite())),),
    "route-without-lr": (seen(messages.invite(headers=[("Record-Route", STRICT)])),),
    "body-type": (seen(messages.invite(content_type="text/plain")),
                  seen(messages.invite(without=["Content-Type"]))),
}  # fmt: skip


def names(message: SeenMessage) -> list[str]:
    return [each.name for each in lint_message(message)]


class MessageRules(SynchronousTestCase):
    def test_good_ones_have_none(self) -> None:
        for message in (
            seen(INVITE, ("192.0.2.1", 5060), OTHER),
            seen(INVITE + b"\r\n\0", ("192.0.2.1", 5060), OTHER),
            seen(success(), OTHER, ("192.0.2.1", 5060)),
            seen(messages.bye(NATTED), ("192.168.1.7", 5060)),
            # A proxy on the way, and a NAT in which rport leads back.
            seen(messages.invite(NATTED, rport=True, headers=[("Record-Route", LOOSE)]), PUBLIC),
            seen(messages.ack(Caller(local=NATTED.local)), PUBLIC),
            seen(INVITE, on_stream=True),
            seen(messages.invite(body=b"")),
        ):
            self.assertEqual(names(message), [], message.raw)

    def test_each_is_found(self) -> None:
        for name, some in FINDINGS.items():
            for message in some:
                self.assertIn(name, names(message), message.raw)

    def test_each_has_a_message(self) -> None:
        self.assertEqual({rule.name for rule in MESSAGE_RULES}, set(FINDINGS))

    def test_what_is_found_beside(self) -> None:
        for name in ("content-length-too-long", "no-contact", "route-without-lr", "body-type",
                     "content-length-too-short", "no-content-length"):  # fmt: skip
            for message in FINDINGS[name]:
                self.assertEqual(names(message), [name], message.raw)

    def test_without_addresses_nothing_is_said_about_them(self) -> None:
        for name in ("private-contact", "private-via", "no-received"):
            for message in FINDINGS[name]:
                self.assertEqual(names(message._replace(source=None, destination=None)), [])

    def test_a_multipart_body_may_hold_the_description(self) -> None:
        body = b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n"
        message = seen(messages.invite(body=body, content_type="multipart/mixed;boundary=b"))
        self.assertEqual(names(message), [])

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(st.data())
    def test_any_bytes(self, data: st.DataObject) -> None:
        some = [message.raw for group in FINDINGS.values() for message in group]
        raw = bytearray(data.draw(st.sampled_from(some)))
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
            raw = raw or bytearray(b"S")
        for finding in lint_message(seen(bytes(raw), PUBLIC, OTHER)):
            self.assertTrue(str(finding).isprintable())
