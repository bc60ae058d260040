"""Offers find their answers: on several hops, early, late, in other methods, and when forked."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.calls import SeenCall, calls_in
from sessioncore.explaining.sightings import Sighting
from sessioncore.testing import messages
from sessioncore.vocabulary import SECOND, Address
from tests.explaining.captures import A, B
from tests.explaining.scenes import A_RTP, B_RTP, CALLER, sdp

P = ("192.0.2.9", 5060)
OFFER, ANSWER = sdp(A_RTP), sdp(B_RTP, session_id=77)
OTHER = sdp(("192.0.2.7", 9_000), session_id=88)
INVITE = messages.invite(CALLER, body=OFFER)


def said(at: float, data: bytes, source: Address = A, destination: Address = B) -> Sighting:
    return Sighting(data, round(at * SECOND), source, destination)


def response(to: bytes, status: int, body: bytes = b"", **given: Any) -> bytes:
    return messages.response(to, status, "Reason", body=body, **given)


def call(*sightings: Sighting) -> SeenCall:
    (found,), others = calls_in(sightings)
    assert others == []
    return found


def exchanges(*sightings: Sighting) -> list[tuple[bytes, bytes | None]]:
    """Offer and answer of each exchange."""
    return [
        (each.body, None if each.answer is None else each.answer[1])
        for each in call(*sightings).exchanges
    ]


class PairingTests(SynchronousTestCase):
    def test_a_call(self) -> None:
        found = call(said(0, INVITE), said(1, response(INVITE, 200, ANSWER), B, A))
        (exchange,) = found.exchanges
        self.assertEqual((exchange.number, exchange.method, exchange.answered_at),
                         (1, "INVITE", SECOND))  # fmt: skip
        self.assertEqual((found.begins_at, found.ends_at, found.ended_at), (0, SECOND, None))
        self.assertTrue(found.was_answered)

    def test_an_early_answer_that_the_200_repeats(self) -> None:
        early, success = response(INVITE, 183, ANSWER), response(INVITE, 200, ANSWER)
        (exchange,) = call(said(0, INVITE), said(1, early, B, A), said(2, success, B, A)).exchanges
        ((sighting, body),) = exchange.answers
        self.assertEqual((sighting.status, body), (200, ANSWER))

    def test_the_final_answer_counts(self) -> None:
        for early, late in ((ANSWER, OTHER), (OTHER, ANSWER)):
            found = exchanges(
                said(0, INVITE),
                said(1, response(INVITE, 183, early), B, A),
                said(2, response(INVITE, 200, late), B, A),
                said(3, response(INVITE, 183, early, to_tag="late"), B, A),
            )
            self.assertEqual(found, [(OFFER, late)])
        found = exchanges(said(0, INVITE), said(1, response(INVITE, 183, ANSWER), B, A))
        self.assertEqual(found, [(OFFER, ANSWER)])

    def test_forks_answer_for_themselves(self) -> None:
        one = response(INVITE, 183, ANSWER, to_tag="one")
        two = response(INVITE, 183, ANSWER, to_tag="two")
        (exchange,) = call(said(0, INVITE), said(1, one, B, A), said(2, two, B, A)).exchanges
        self.assertEqual(len(exchange.answers), 2)

    def test_a_refusal_with_a_description_is_no_answer(self) -> None:
        """RFC 3261 section 21.4.26: it says what would have been acceptable."""
        found = call(said(0, INVITE), said(1, response(INVITE, 488, ANSWER), B, A))
        (exchange,) = found.exchanges
        self.assertIsNone(exchange.answer)
        assert exchange.refused is not None
        self.assertEqual((exchange.refused.status, found.ended_at), (488, SECOND))
        self.assertFalse(found.was_answered)

    def test_a_late_offer_is_answered_in_the_ack(self) -> None:
        invite = messages.invite(CALLER, body=b"")
        success = response(invite, 200, OFFER)
        ack = messages.ack(CALLER, to=success, body=ANSWER)
        again = said(1.5, success, B, A)
        found = exchanges(said(0, invite), said(1, success, B, A), again, said(2, ack))
        self.assertEqual(found, [(OFFER, ANSWER)])

    def test_a_late_offer_is_answered_in_the_prack(self) -> None:
        invite = messages.invite(CALLER, body=b"")
        early = response(invite, 183, OFFER)
        prack = messages.request("PRACK", CALLER, sequence=2, body=ANSWER)
        found = exchanges(said(0, invite), said(1, early, B, A), said(2, prack))
        self.assertEqual(found, [(OFFER, ANSWER)])

    def test_update_and_prack_offer_too(self) -> None:
        for method in ("UPDATE", "PRACK"):
            request = messages.request(method, CALLER, sequence=2, body=OTHER)
            found = exchanges(
                said(0, INVITE),
                said(1, response(INVITE, 183, ANSWER), B, A),
                said(2, request),
                said(3, response(request, 200, ANSWER), B, A),
            )
            self.assertEqual(found, [(OFFER, ANSWER), (OTHER, ANSWER)])

    def test_other_methods_have_no_descriptions(self) -> None:
        info = messages.request("INFO", CALLER, sequence=2, body=OTHER)
        found = exchanges(said(0, INVITE), said(1, info), said(2, response(info, 200, OTHER), B, A))
        self.assertEqual(found, [(OFFER, None)])

    def test_an_ack_of_another_offer_answers_nothing(self) -> None:
        invite = messages.invite(CALLER, body=b"")
        success = response(invite, 200, OFFER)
        ack = messages.ack(evolve(CALLER, sequence=9), to=success, body=ANSWER)
        self.assertEqual(exchanges(said(0, invite), said(1, success, B, A), said(2, ack)),
                         [(OFFER, None)])  # fmt: skip


class HopTests(SynchronousTestCase):
    def test_a_proxy_that_passes_the_description_on(self) -> None:
        inner = messages.invite(CALLER, body=OFFER, headers=[("Max-Forwards", "69")])
        success = response(INVITE, 200, ANSWER)
        found = call(
            said(0, INVITE, A, P),
            said(0.1, inner, P, B),
            said(1, success + b"", B, P),
            said(1.1, success, P, A),
        )
        (exchange,) = found.exchanges
        self.assertEqual((exchange.copies, len(exchange.answers)), (1, 1))
        self.assertEqual(found.parties, {A: "A", P: "B", B: "C"})

    def test_a_proxy_that_rewrites_it(self) -> None:
        inner = messages.invite(CALLER, body=OTHER)
        found = exchanges(
            said(0, INVITE, A, P),
            said(0.1, inner, P, B),
            said(1, response(inner, 200, ANSWER), B, P),
            said(1.1, response(INVITE, 200, OTHER), P, A),
        )
        self.assertEqual(found, [(OFFER, OTHER), (OTHER, ANSWER)])

    def test_a_response_from_another_port(self) -> None:
        elsewhere = (B[0], 5070)
        found = exchanges(said(0, INVITE), said(1, response(INVITE, 200, ANSWER), elsewhere, A))
        self.assertEqual(found, [(OFFER, ANSWER)])

    def test_a_response_of_another_transaction(self) -> None:
        other = messages.invite(evolve(CALLER, sequence=7), body=b"")
        found = exchanges(said(0, INVITE), said(1, response(other, 200, ANSWER), B, A))
        self.assertEqual(found, [(OFFER, None), (ANSWER, None)])


class CallTests(SynchronousTestCase):
    def test_copies_and_retransmissions(self) -> None:
        found = call(
            said(0, INVITE), said(0.0005, INVITE), said(0.5, INVITE), said(0.6, INVITE, B, A)
        )
        self.assertEqual([each.repeats for each in found.sightings], [False, True, False])
        self.assertEqual(len(found.requests("INVITE")), 2)

    def test_without_addresses_nothing_is_a_copy(self) -> None:
        found = call(Sighting(INVITE), Sighting(INVITE))
        self.assertEqual([each.repeats for each in found.sightings], [False, False])
        self.assertEqual(found.letter(None), "?")

    def test_what_is_not_a_call(self) -> None:
        options = messages.options(evolve(CALLER, call_id="o"))
        broken = b"OPTIONS sip:a SIP/2.0\r\n\r\n"
        calls, others = calls_in([said(0, options), said(1, broken), said(2, INVITE)])
        self.assertEqual((len(calls), len(others)), (1, 2))
        for method in ("BYE", "INFO", "UPDATE"):
            request = messages.request(method, evolve(CALLER, call_id="o"))
            calls, others = calls_in([said(0, options), said(1, request)])
            self.assertEqual((len(calls), others), (1, []))

    def test_many_parties(self) -> None:
        found = call(*[said(each, INVITE, ("192.0.2.1", each + 1)) for each in range(30)])
        letters = list(found.parties.values())
        self.assertEqual((letters[0], letters[25], letters[26]), ("A", "Z", "P27"))

    def test_responses_of_the_hop(self) -> None:
        success = response(INVITE, 200, ANSWER)
        first, second = said(0, INVITE, A, P), said(0.1, INVITE, P, B)
        found = call(first, second, said(1, success, B, P))
        self.assertEqual(found.responses_to(first), [])
        self.assertEqual([each.status for each in found.responses_to(second)], [200])

    def test_the_end(self) -> None:
        success = response(INVITE, 200, ANSWER)
        bye = messages.bye(CALLER, to=success)
        found = call(said(0, INVITE), said(1, success, B, A), said(5, bye), said(6, bye))
        self.assertEqual(found.ended_at, 5 * SECOND)
