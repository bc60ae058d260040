from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.sightings import Sighting, looks_like_sip, messages_in
from sessioncore.testing import messages

INVITE = messages.invite()
OK = messages.response(INVITE, 200, "OK", body=messages.offer())
BYE = messages.bye()


def unix(message: bytes) -> bytes:
    return message.replace(b"\r\n", b"\n")


class TextTests(SynchronousTestCase):
    def raw(self, text: bytes) -> list[bytes]:
        return [each.raw for each in messages_in(text)]

    def test_one_and_several(self) -> None:
        self.assertEqual(self.raw(INVITE), [INVITE])
        self.assertEqual(self.raw(INVITE + OK + BYE), [INVITE, OK, BYE])

    def test_what_stands_between_is_left_out(self) -> None:
        log = b"10:00 received from 192.0.2.1:\n%b\n10:01 sent\n\n%b--\n%b\n\n"
        self.assertEqual(self.raw(log % (INVITE, OK, BYE)), [INVITE, OK, BYE])

    def test_line_ends_of_a_text_file(self) -> None:
        self.assertEqual(self.raw(unix(INVITE + b"\n" + OK + BYE)), [INVITE, OK, BYE])

    def test_an_editor_took_the_last_line_end_away(self) -> None:
        for text in (INVITE.rstrip(), unix(INVITE).rstrip()):
            self.assertEqual(self.raw(text), [INVITE])
        self.assertEqual(self.raw(unix(BYE).rstrip()), [BYE])

    def test_without_content_length(self) -> None:
        invite = messages.invite(without=["Content-Length"])
        self.assertEqual(self.raw(unix(invite) + b"\n\n\n"), [invite])

    def test_a_body_that_is_too_short_stays_so(self) -> None:
        (sighting,) = messages_in(INVITE[:-30])
        self.assertEqual(sighting.problem, "body shorter than Content-Length")

    def test_no_message(self) -> None:
        self.assertEqual(self.raw(b"v=0\r\n"), [])
        self.assertEqual(self.raw(b"see SIP/2.0 200 OK\r\n"), [])


class SightingTests(SynchronousTestCase):
    def test_a_request(self) -> None:
        sighting = Sighting(INVITE)
        self.assertEqual((sighting.method, sighting.status), ("INVITE", 0))
        self.assertEqual(sighting.sequence, (1, "INVITE"))
        self.assertEqual(sighting.first_line, "INVITE sip:bob@192.0.2.2:5060")
        self.assertEqual(sighting.description, messages.offer())
        self.assertIsNone(sighting.to_tag)

    def test_a_response(self) -> None:
        sighting = Sighting(OK)
        self.assertEqual((sighting.method, sighting.status), ("", 200))
        self.assertEqual((sighting.first_line, sighting.to_tag), ("200 OK", b"314159"))

    def test_descriptions(self) -> None:
        multipart = b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n"
        for message, wanted in (
            (BYE, None),
            (messages.invite(content_type="text/plain"), None),
            (messages.invite(content_type="=;="), None),
            (messages.invite(body=multipart, content_type="multipart/mixed;boundary=b"), b"v=0"),
        ):
            self.assertEqual(Sighting(message).description, wanted)
        self.assertIsNone(Sighting(INVITE, whole=False).description)

    def test_what_cannot_be_read(self) -> None:
        sighting = Sighting(b"INVITE sip:x SIP/2.0\r\nCSeq: what\r\n\r\n")
        self.assertEqual((sighting.sequence, sighting.call_id), ((0, "INVITE"), None))
        broken = Sighting(b"\xff\r\n\r\n")
        self.assertIsNotNone(broken.problem)
        self.assertEqual((broken.message, broken.sequence), (None, (0, "")))
        self.assertEqual((broken.first_line, broken.description), ("\\xff", None))

    def test_what_was_cut_by_the_capture_is_no_fault_of_the_message(self) -> None:
        self.assertIsNotNone(Sighting(INVITE[:-9]).subject.problem)
        self.assertIsNone(Sighting(INVITE[:-9], whole=False).subject.problem)

    def test_what_may_be_sip(self) -> None:
        for data, is_one in (
            (INVITE, True),
            (OK, True),
            (b"\r\n\r\n" + BYE, True),
            (b"\r\n", False),
            (b"\x80\0SIP/2.0", False),
            (b"NOTIFY * HTTP/1.1\r\n", False),
        ):
            self.assertEqual(looks_like_sip(data), is_one, data)
