"""Sorts messages into calls: ladders, parties, offers with their answers.

A call is a Call-ID with an INVITE, or with another request that only exists within a call.  A
capture may hold it on several hops, before and behind a proxy; each pair of addresses is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Final, TypeAlias

from attrs import define, field

from sessioncore.explaining.sightings import Sighting
from sessioncore.sip.message import Response
from sessioncore.vocabulary import MILLISECOND, Address

__all__ = ["Exchange", "SeenCall", "calls_in"]

_WITHIN_CALLS: Final = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER")
_OFFERING: Final = ("INVITE", "UPDATE", "PRACK")
_TWICE: Final = MILLISECOND
"""So soon after itself a message is the same packet, captured on two interfaces."""
_MAX_REMEMBERED: Final = 2_000

Hop: TypeAlias = frozenset[Address | None]


def _hop(sighting: Sighting) -> Hop:
    return frozenset((sighting.source, sighting.destination))


@define(eq=False)
class Exchange:
    """An offer, and what came back: answers in order, or a refusal.

    ``number`` counts the exchanges of a call from 1.  ``copies`` are the same offer on other hops.
    """

    number: int
    offer: Sighting
    body: bytes
    method: str
    answers: list[tuple[Sighting, bytes]] = field(factory=list)
    """Answers that differ, or come from different callees."""
    refused: Sighting | None = None
    copies: int = 0

    @property
    def answer(self) -> tuple[Sighting, bytes] | None:
        """The answer that counts: of a final response if there is one, else the last."""
        final = [each for each in self.answers if each[0].status == 0 or each[0].status >= 200]
        chosen = final or self.answers
        return chosen[-1] if chosen else None

    @property
    def answered_at(self) -> int:
        """When the first answer came."""
        return self.answers[0][0].at

    @property
    def hop(self) -> Hop:
        """The addresses between which the offer went."""
        return _hop(self.offer)

    def add_answer(self, sighting: Sighting, body: bytes) -> None:
        """Add an answer, unless it repeats one."""
        tag = sighting.to_tag
        for number, (known, other) in enumerate(self.answers):
            if other == body and known.to_tag == tag:
                if sighting.status >= 200 > known.status > 0:
                    self.answers[number] = sighting, body
                return
        self.answers.append((sighting, body))


@define(eq=False)
class SeenCall:
    """All that was seen of one Call-ID."""

    call_id: bytes
    sightings: list[Sighting] = field(factory=list)
    exchanges: list[Exchange] = field(factory=list)

    @property
    def begins_at(self) -> int:
        """The time of its first message."""
        return self.sightings[0].at

    @property
    def ends_at(self) -> int:
        """The time of its last message."""
        return self.sightings[-1].at

    @cached_property
    def parties(self) -> dict[Address, str]:
        """A letter for each address, in order of appearance."""
        found: dict[Address, str] = {}
        for sighting in self.sightings:
            for address in (sighting.source, sighting.destination):
                if address is not None and address not in found:
                    found[address] = _letter(len(found))
        return found

    def letter(self, address: Address | None) -> str:
        """The letter of a party; ``?`` if it is not known who it was."""
        return "?" if address is None else self.parties.get(address, "?")

    def requests(self, method: str) -> list[Sighting]:
        """The requests of a method, without retransmissions."""
        return [each for each in self.sightings if each.method == method and not each.repeats]

    @cached_property
    def responses(self) -> dict[tuple[Hop, int, str], list[Sighting]]:
        """The responses, without retransmissions, by hop and CSeq."""
        found: dict[tuple[Hop, int, str], list[Sighting]] = {}
        for each in self.sightings:
            if isinstance(each.message, Response) and not each.repeats:
                found.setdefault((_hop(each), *each.sequence), []).append(each)
        return found

    def responses_to(self, request: Sighting) -> list[Sighting]:
        """The responses to a request, of the same hop."""
        return self.responses.get((_hop(request), *request.sequence), [])

    @cached_property
    def ended_at(self) -> int | None:
        """When a BYE came, or a final response refused the call; None if it goes on."""
        byes = self.requests("BYE")
        if byes:
            return byes[0].at
        for invite in self.requests("INVITE")[:1]:
            for response in self.responses_to(invite):
                if response.status >= 300:
                    return response.at
        return None

    @property
    def was_answered(self) -> bool:
        """Whether an INVITE got a 2xx."""
        return any(
            200 <= each.status < 300 and each.sequence[1] == "INVITE" for each in self.sightings
        )


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"P{number + 1}"


def calls_in(sightings: Iterable[Sighting]) -> tuple[list[SeenCall], list[Sighting]]:
    """The calls, in order of appearance, and the messages that belong to none."""
    by_call_id: dict[bytes, SeenCall] = {}
    others: list[Sighting] = []
    for sighting in sightings:
        call_id = sighting.call_id
        if call_id is None:
            others.append(sighting)
            continue
        call = by_call_id.setdefault(call_id, SeenCall(call_id))
        call.sightings.append(sighting)
    calls = []
    for call in by_call_id.values():
        if any(each.sequence[1] in _WITHIN_CALLS for each in call.sightings):
            call.sightings = _without_copies(call.sightings)
            call.exchanges = _Pairing(call.sightings).exchanges
            calls.append(call)
        else:
            others += call.sightings
    return calls, others


def _without_copies(sightings: list[Sighting]) -> list[Sighting]:
    """Without packets that were captured twice; retransmissions are marked."""
    kept: list[Sighting] = []
    known: dict[tuple[Address | None, Address | None, bytes], int] = {}
    for sighting in sightings:
        key = sighting.source, sighting.destination, sighting.raw
        before = known.get(key)
        if len(known) < _MAX_REMEMBERED:
            known[key] = sighting.at
        if before is not None and sighting.source is not None:
            if sighting.at - before < _TWICE:
                continue
            sighting.repeats = True
        kept.append(sighting)
    return kept


class _Pairing:
    """Finds the offers and answers of one call (RFC 3264, RFC 3261 13.2.1, RFC 6337)."""

    def __init__(self, sightings: list[Sighting]) -> None:
        self.exchanges: list[Exchange] = []
        self._open: dict[tuple[int, str, Hop], Exchange] = {}
        for sighting in sightings:
            if not sighting.repeats:
                self._take(sighting)

    def _take(self, sighting: Sighting) -> None:
        body = sighting.description
        number, method = sighting.sequence
        if sighting.status:
            self._take_response(sighting, number, method, body)
        elif body is not None:
            self._take_request(sighting, number, method, body)

    def _take_request(self, sighting: Sighting, number: int, method: str, body: bytes) -> None:
        if method == "ACK" or (method == "PRACK" and self._late(sighting)):
            late = self._late(sighting)
            if late is not None:
                late.add_answer(sighting, body)
        elif method in _OFFERING:
            self._offer(sighting, number, method, body)

    def _take_response(
        self, sighting: Sighting, number: int, method: str, body: bytes | None
    ) -> None:
        if method not in _OFFERING:
            return
        exchange = self._find(sighting, number, method)
        if exchange is None or exchange.offer.status:
            # The request brought no offer, so this is one, to be answered in the ACK or PRACK.
            if body is not None and (exchange is None or exchange.body != body):
                self._offer(sighting, number, method, body)
        elif body is not None and sighting.status < 300:
            exchange.add_answer(sighting, body)
        elif sighting.status >= 300:
            exchange.refused = sighting

    def _offer(self, sighting: Sighting, number: int, method: str, body: bytes) -> None:
        for known in self.exchanges:
            # A proxy passed it on, with the same description.
            if known.body == body and known.offer.sequence == sighting.sequence:
                known.copies += 1
                self._open.setdefault((number, method, _hop(sighting)), known)
                return
        exchange = Exchange(len(self.exchanges) + 1, sighting, body, method)
        self.exchanges.append(exchange)
        self._open[number, method, _hop(sighting)] = exchange

    def _find(self, sighting: Sighting, number: int, method: str) -> Exchange | None:
        """The exchange of a response: of the same hop, or else of the same transaction."""
        exact = self._open.get((number, method, _hop(sighting)))
        if exact is not None:
            return exact
        hosts = _hosts(_hop(sighting))
        fitting = [
            (_hosts(hop) == hosts, exchange)
            for (other, kind, hop), exchange in self._open.items()
            if (other, kind) == (number, method)
        ]
        return max(fitting, key=lambda pair: pair[0])[1] if fitting else None

    def _late(self, sighting: Sighting) -> Exchange | None:
        """The offer in a response that waits for this answer."""
        for exchange in reversed(self.exchanges):
            waits = exchange.offer.status and not exchange.answers
            number = exchange.offer.sequence[0]
            fits = sighting.method == "PRACK" or number == sighting.sequence[0]
            if waits and fits and _hosts(exchange.hop) == _hosts(_hop(sighting)):
                return exchange
        return None


def _hosts(hop: Hop) -> frozenset[str]:
    return frozenset("" if address is None else address[0] for address in hop)
