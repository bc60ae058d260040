"""Why calls end: Reason headers, causes, and words that are fit for a log."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.session.reasons import answered_with, ended_by_peer, local_reason, q850_cause
from sessioncore.sip.message import parse_message
from sessioncore.testing import messages
from sessioncore.vocabulary import EndedBy, EndReason


def bye(*reasons: str) -> Any:
    return parse_message(messages.bye(headers=[("Reason", reason) for reason in reasons]))


def refusal(status: int, phrase: str = "Busy Here", **given: Any) -> Any:
    return parse_message(messages.response(messages.invite(), status, phrase, **given))


class ReasonTests(SynchronousTestCase):
    def test_cause(self) -> None:
        for text, cause in (
            ("Q.850;cause=16", 16),
            ('q.850 ; text="a;b,c" ; cause = 31', 31),
            ("SIP;cause=200, Q.850;cause=17", 17),
            ("SIP;cause=600", None),
            ('SIP;text="Q.850"', None),
            ("Q.850;cause=x", None),
        ):
            self.assertEqual(q850_cause(bye(text)), cause, text)
        self.assertEqual(q850_cause(bye("SIP;cause=1", "Q.850;cause=2")), 2)

    def test_peer(self) -> None:
        self.assertEqual(
            ended_by_peer(bye('Q.850;cause=31;text="no more"'), "hung up"),
            EndReason(EndedBy.REMOTE, "no more", None, 31),
        )
        self.assertEqual(
            ended_by_peer(bye(), "hung up", 487), EndReason(EndedBy.REMOTE, "hung up", 487, 16)
        )

    def test_refused(self) -> None:
        self.assertEqual(
            answered_with(refusal(486)), EndReason(EndedBy.REMOTE, "Busy Here", 486, 17)
        )
        self.assertEqual(answered_with(refusal(499, "")).text, "answered 499")
        self.assertIsNone(answered_with(refusal(499)).cause)

    def test_the_cause_of_each_status(self) -> None:
        """RFC 3398 section 8.2.6.1, the other way round."""
        causes = {
            status: answered_with(refusal(status)).cause
            for status in range(300, 700)
            if answered_with(refusal(status)).cause is not None
        }
        expected = (
            "403 21 404 1 408 102 410 22 480 18 484 28 486 17 487 127 488 65 500 41 502 38 503 41"
            " 504 102 600 17 603 21 604 1"
        )
        self.assertEqual(" ".join(f"{each} {causes[each]}" for each in causes), expected)

    def test_the_warning_says_why(self) -> None:
        warned = refusal(
            488, "Not Acceptable Here", headers=[("Warning", '305 b.example "no codec of 18, 4"')]
        )
        self.assertEqual(answered_with(warned).text, "Not Acceptable Here: no codec of 18, 4")
        self.assertEqual(answered_with(warned).reasons, ("no codec of 18, 4",))
        for unfit in (
            "305 b.example none",
            '305 b.example ""',
            "305",
            '305 b.example "' + "x" * 600,
        ):
            given = refusal(488, "No", headers=[("Warning", unfit)])
            self.assertEqual(answered_with(given).text, "No", unfit)
            self.assertEqual(answered_with(given).reasons, (), unfit)

    def test_what_the_peer_requires(self) -> None:
        tags = [("Require", "100rel, timer"), ("Require", "x\x01y")]
        reason = answered_with(refusal(421, "Extension Required", headers=tags))
        self.assertEqual(reason.required, ("100rel", "timer", "x?y"))
        self.assertEqual(reason.text, "Extension Required: 100rel, timer, x?y")
        self.assertEqual(answered_with(refusal(421)).required, ())
        many = answered_with(refusal(421, headers=[("Require", ", ".join("a" * 300))]))
        self.assertEqual(many.required, ("a",) * 16)

    def test_what_a_refusal_is_about(self) -> None:
        for status, header in ((405, "Allow"), (415, "Accept"), (420, "Unsupported")):
            reason = answered_with(refusal(status, "No", headers=[(header, "one, two")]))
            self.assertEqual((reason.text, reason.required), ("No: one, two", ()))

    def test_which_password_is_wanted(self) -> None:
        for status, header in ((401, "WWW-Authenticate"), (407, "Proxy-Authenticate")):
            challenges = [
                (header, 'Digest realm="pbx.example.com", nonce="a,b", algorithm=SHA-256'),
                (header, 'digest nonce="a", REALM = "other \x1bone"'),
                (header, "Digest nonce"),
            ]
            reason = answered_with(refusal(status, "Unauthorized", headers=challenges))
            self.assertEqual(reason.realms, ("pbx.example.com", "other ?one"))
            self.assertEqual(reason.text, "Unauthorized: realm pbx.example.com, other ?one", status)
            self.assertEqual(answered_with(refusal(status)).realms, ())

    def test_moved(self) -> None:
        moved = refusal(302, "Moved", headers=[("Contact", "<sip:carol@192.0.2.9>")])
        self.assertEqual(answered_with(moved).text, "Moved: <sip:carol@192.0.2.9>")
        self.assertEqual(answered_with(refusal(302, "Moved")).text, "Moved: nowhere")

    def test_local(self) -> None:
        self.assertEqual(local_reason("x"), EndReason(EndedBy.LOCAL, "x", None, 16))
        self.assertEqual(local_reason("x", 486).cause, 17)

    def test_words_are_bounded_and_printable(self) -> None:
        text = ended_by_peer(bye('SIP;text="a\x1b[31mb"'), "").text
        self.assertEqual(text, "a?[31mb")
        for length, kept in ((199, 199), (200, 200), (201, 200), (5_000, 200)):
            self.assertEqual(answered_with(refusal(486, "x" * length)).text, "x" * kept)

    def test_quoted_texts_of_more_than_200_octets_are_not_repeated(self) -> None:
        for length, text in ((200, "x" * 200), (201, "hung up")):
            said = bye(f'Q.850;cause=31;text="{"x" * length}"')
            self.assertEqual(ended_by_peer(said, "hung up").text, text)
        for length, reasons in ((200, ("x" * 200,)), (201, ())):
            warned = refusal(488, headers=[("Warning", f'305 b.example "{"x" * length}"')])
            self.assertEqual(answered_with(warned).reasons, reasons)

    def test_long_values_are_searched_no_further_than_need_be(self) -> None:
        self.assertIsNone(q850_cause(bye("Q.850;" * 2_000)))
        self.assertIsNone(q850_cause(bye("SIP;x=" + "y" * 10_000 + ", Q.850;cause=16")))
        for length, cause, text in ((500, 3, "late"), (501, None, "hung up")):
            for end, found in ((";cause=3", "cause"), (';text="late"', "text")):
                value = "Q.850;x=".ljust(length - len(end), "y") + end
                self.assertEqual(len(value), length)
                if found == "cause":
                    self.assertEqual(q850_cause(bye(value)), cause)
                else:
                    self.assertEqual(ended_by_peer(bye(value), "hung up").text, text)

    @settings(max_examples=100)
    @given(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=80)
    )
    def test_nothing_is_raised(self, text: str) -> None:
        reason = ended_by_peer(bye("SIP;" + text.strip()), "hung up")
        self.assertTrue(reason.text.isprintable())
