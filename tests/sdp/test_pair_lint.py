"""Every finding between an offer and its answer, and between a description and the next one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sdp.pair_lint import CHANGE_RULES, EXCHANGE_RULES, lint_change, lint_exchange
from tests.sdp.offers import BARESIP, description

AUDIO = "audio 6000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000"
OFFER = description(AUDIO)


def answer(*media: str, ip: str = "192.0.2.8", times: str = "0 0") -> bytes:
    return description(*media, ip=ip, times=times)


SRTP = AUDIO.replace("AVP", "SAVP")

EXCHANGES = {
    "m-line-count": ((BARESIP, answer(AUDIO)), (OFFER, answer(AUDIO, "video 0 RTP/AVP 31"))),
    "m-line-order": (
        (description(AUDIO, "video 6002 RTP/AVP 31"), answer("video 0 RTP/AVP 31", AUDIO)),
    ),
    "audio-refused": ((OFFER, answer("audio 0 RTP/AVP 0")), (OFFER, answer("video 7 RTP/AVP 31"))),
    "profile-changed": ((OFFER, answer(SRTP)), (description(SRTP), answer(AUDIO))),
    "no-common-format": (
        (OFFER, answer("audio 6000 RTP/AVP 8")),
        (OFFER, answer("audio 6000 RTP/AVP 101\na=rtpmap:101 telephone-event/8000")),
        (OFFER, answer("audio 6000 RTP/AVP 0\na=rtpmap:0 PCMU/16000")),
    ),
    "other-family-answered": ((OFFER, answer(AUDIO, ip="2001:db8::1")),),
    "same-address": ((OFFER, OFFER),),
    "direction-not-allowed": (
        (description(AUDIO + "\na=sendonly"), answer(AUDIO)),
        (description(AUDIO + "\na=inactive"), answer(AUDIO + "\na=recvonly")),
    ),
    "not-both-ways": (
        (description(AUDIO + "\na=sendonly"), answer(AUDIO + "\na=recvonly")),
        (OFFER, answer(AUDIO + "\na=inactive")),
    ),
    "format-renumbered": (
        (OFFER, answer("audio 6000 RTP/AVP 0 96\na=rtpmap:96 telephone-event/8000")),
    ),
    "format-not-offered": ((OFFER, answer("audio 6000 RTP/AVP 0 8")),),
    "rtcp-mux-not-offered": ((OFFER, answer(AUDIO + "\na=rtcp-mux")),),
    "keys-not-offered": ((OFFER, answer(AUDIO + "\na=crypto:1 x inline:y")),),
    "digits-not-answered": ((OFFER, answer("audio 6000 RTP/AVP 0")),),
    "time-changed": ((OFFER, answer(AUDIO, times="1 2")),),
}

CHANGES = {
    "m-lines-removed": (description(AUDIO, "video 0 RTP/AVP 31"), description(AUDIO, version=2)),
    "version-not-raised": (OFFER, description(AUDIO + "\na=sendonly")),
    "version-step": (OFFER, description(AUDIO, version=5)),
    "session-id-changed": (OFFER, description(AUDIO).replace(b"o=- 42 ", b"o=- 43 ")),
}


class ExchangeRules(SynchronousTestCase):
    def names(self, offer: bytes, answer: bytes) -> list[str]:
        return [each.name for each in lint_exchange(offer, answer)]

    def test_good_ones_have_none(self) -> None:
        for offer, body in (
            (OFFER, answer(AUDIO)),
            # Without rtpmap the answer means the numbers of the offer.
            (description("audio 6000 RTP/AVP 96\na=rtpmap:96 L16/8000"),
             answer("audio 6000 RTP/AVP 96")),
            (description(AUDIO, "video 6002 RTP/AVP 31"), answer(AUDIO, "video 0 RTP/AVP 31")),
            (description(AUDIO + "\na=rtcp-mux"), answer(AUDIO + "\na=rtcp-mux")),
            (description(SRTP + "\na=crypto:1 x y"), answer(SRTP + "\na=crypto:1 x z")),
        ):  # fmt: skip
            self.assertEqual(self.names(offer, body), [])

    def test_each_is_found(self) -> None:
        for name, pairs in EXCHANGES.items():
            for offer, body in pairs:
                self.assertIn(name, self.names(offer, body), body)

    def test_each_has_an_exchange(self) -> None:
        self.assertEqual({rule.name for rule in EXCHANGE_RULES}, set(EXCHANGES))

    def test_the_direction_is_named(self) -> None:
        for offered, answered, text in (
            ("sendonly", "recvonly", "only to the side that answered"),
            ("recvonly", "sendonly", "only to the side that offered"),
            ("sendrecv", "inactive", "neither way"),
        ):
            found = lint_exchange(
                description(f"{AUDIO}\na={offered}"), answer(f"{AUDIO}\na={answered}")
            )
            (finding,) = (each for each in found if each.name == "not-both-ways")
            self.assertIn(text, finding.text)

    def test_what_cannot_be_read_has_no_pairs(self) -> None:
        for pair in ((b"x", OFFER), (OFFER, b"x"), (b"", b"")):
            self.assertEqual(lint_exchange(*pair), ())


class ChangeRules(SynchronousTestCase):
    def test_good_ones_have_none(self) -> None:
        self.assertEqual(
            lint_change(OFFER, OFFER, description(AUDIO + "\na=sendonly", version=2)), ()
        )
        self.assertEqual(lint_change(OFFER), ())
        self.assertEqual(lint_change(OFFER, b"x"), ())

    def test_each_is_found(self) -> None:
        for name, bodies in CHANGES.items():
            self.assertIn(name, [each.name for each in lint_change(*bodies)], name)

    def test_each_has_a_change(self) -> None:
        self.assertEqual({rule.name for rule in CHANGE_RULES}, set(CHANGES))

    def test_all_neighbours_are_compared(self) -> None:
        other = description(AUDIO + "\na=sendonly")
        self.assertEqual(len(lint_change(OFFER, other, OFFER)), 2)
