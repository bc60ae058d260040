"""The places of calls without ACK: shared out among sources, half kept for known ones."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.session import admission
from sessioncore.session.admission import KNOWN_FOR, Admission, Source
from sessioncore.testing import messages
from sessioncore.vocabulary import SECOND
from tests.session.scene import A, B, C, Caller, Scene, answer, ring


class AdmissionTests(SynchronousTestCase):
    def fill(self, places: Admission, ip: str, now: int = 0) -> int:
        """As many calls from ``ip`` as get a place."""
        return len(self.calls(places, ip, now))

    def calls(self, places: Admission, ip: str, now: int = 0) -> list[Source]:
        found = []
        while (source := places.admit(ip, now)) is not None:
            found.append(source)
        return found

    def make_known(self, places: Admission, ip: str, now: int = 0) -> None:
        source = places.admit(ip, now)
        assert source is not None
        places.acknowledge(source, now)

    def test_one_source_leaves_a_third(self) -> None:
        places = Admission(2000)
        self.assertEqual(self.fill(places, "192.0.2.1"), 667)
        self.assertEqual(self.fill(places, "192.0.2.2"), 222)

    def test_few_sources_leave_room_for_others(self) -> None:
        places = Admission(2000)
        # Side by side, as floods come.
        for _ in range(1000):
            for number in range(8):
                places.admit(f"192.0.2.{number}", 0)
        self.assertEqual(places.strangers, 942)
        for number in range(50):
            self.assertIsNotNone(places.admit(f"198.51.100.{number}", 0))

    def test_half_is_kept_for_known_sources(self) -> None:
        places = Admission(200)
        self.make_known(places, "203.0.113.9")
        for number in range(250):
            places.admit(f"192.0.{number}.1", 0)
        self.assertEqual((places.strangers, places.waiting), (100, 100))
        self.assertEqual(self.fill(places, "203.0.113.9"), 67)

    def test_trusted_sources_are_known_at_once(self) -> None:
        places = Admission(200, ("203.0.113.0/24", "2001:db8::/32"))
        for number in range(250):
            places.admit(f"192.0.{number}.1", 0)
        self.assertEqual(self.fill(places, "203.0.113.9"), 67)
        self.assertGreater(self.fill(places, "2001:db8::7"), 0)
        self.assertIsNone(places.admit("203.0.114.9", 0))

    def test_a_source_is_known_for_an_hour(self) -> None:
        places = Admission(200)
        self.make_known(places, "203.0.113.9")
        for number in range(250):
            places.admit(f"192.0.{number}.1", 0)
        self.assertIsNotNone(places.admit("203.0.113.9", KNOWN_FOR))
        self.assertIsNone(places.admit("203.0.113.9", KNOWN_FOR + 1))
        self.assertEqual((places.strangers, places.waiting), (101, 101))

    def test_what_ends_gives_its_place_back(self) -> None:
        places = Admission(200)
        calls = self.calls(places, "192.0.2.1")
        self.assertEqual((places.strangers, places.waiting), (67, 67))
        places.acknowledge(calls.pop(), 5)
        self.assertEqual((places.strangers, places.waiting), (0, 66))
        for source in calls:
            places.leave(source)
        self.assertEqual((places.strangers, places.waiting), (0, 0))
        other = self.calls(places, "192.0.2.2")
        for source in other:
            places.leave(source)
        self.assertEqual(list(places._sources), ["192.0.2.1"])

    def test_small_servers_keep_nothing(self) -> None:
        self.assertEqual(self.fill(Admission(1), "192.0.2.1"), 1)
        self.assertEqual(self.fill(Admission(2), "192.0.2.1"), 2)
        self.assertEqual(self.fill(Admission(4), "192.0.2.1"), 3)
        self.assertEqual(Admission(16).for_strangers, 8)

    def test_a_network_of_ipv6_is_one_source(self) -> None:
        places = Admission(200)
        for number in range(100):
            places.admit(f"2001:db8::{number:x}", 0)
        self.assertEqual(places.strangers, 67)
        self.assertIsNotNone(places.admit("2001:db8:0:1::1", 0))
        self.assertIsNotNone(places.admit("fe80::1%eth0", 0))

    def test_known_sources_are_bounded(self) -> None:
        self.patch(admission, "MOST_KNOWN", 3)
        places = Admission(200)
        minute = 61 * SECOND
        for number, ip in enumerate("abcad"):
            self.make_known(places, ip, number * minute)
        self.assertEqual(list(places._sources), ["c", "a", "d"])

    def test_short(self) -> None:
        places = Admission(200)
        for number in range(75):
            places.admit(f"192.0.{number}.1", 0)
        self.assertFalse(places.short)
        places.admit("192.0.2.200", 0)
        self.assertTrue(places.short)


class PlacesTests(Scene):
    """The same with a manager and forged INVITEs."""

    def setUp(self) -> None:
        super().setUp()
        self.decide: Any = answer
        self.us = self.party(B, lambda call: self.decide(call), max_calls=200)
        self.known = Caller(self.peer(A))

    def flood(self, count: int, source: str | None = None) -> list[Any]:
        """INVITEs that nobody will acknowledge, each from an IP address of its own."""
        peers = []
        for number in range(count):
            peer = self.peer(
                source or f"198.51.{number}.1", 5060 if source is None else 7000 + number
            )
            who = messages.Caller(
                local=(peer.host.addresses[0], peer.port.port),
                remote=(B, 5060),
                call_id=f"forged-{number}",
                branch=f"z9hG4bK-forged-{number}",
            )
            peer.send(messages.invite(who), (B, 5060))
            peers.append(peer)
        self.run_for(0.01)
        return peers

    def test_forged_invites_do_not_lock_out_known_sources(self) -> None:
        self.known.established(self)
        self.flood(200)
        counters = self.us.counters
        self.assertEqual((counters["incoming"], counters["refused_busy"]), (101, 100))
        again = Caller(self.peer(A, 5070), call_id="again")
        again.established(self)
        self.assertEqual(self.us.counters["incoming"], 102)

    def test_forged_invites_are_given_up_early_where_places_are_short(self) -> None:
        self.flood(100)
        self.run_for(7.9)
        self.assertEqual(len(self.us.manager.calls), 100)
        self.run_for(0.2)
        # As many as leave the places no longer short.
        self.assertEqual(len(self.us.manager.calls), 75)
        reason = self.us.events[-1].reason  # type: ignore[attr-defined]
        self.assertIn("no ACK for the 200 OK; given up early", reason.text)

    def test_without_shortage_an_ack_may_take_32_s(self) -> None:
        self.flood(10)
        self.run_for(31)
        self.assertEqual(len(self.us.manager.calls), 10)
        self.run_for(1.1)
        self.assertEqual(self.us.manager._coordinator.admission.waiting, 0)

    def test_ringing_calls_take_places_too(self) -> None:
        self.decide = ring
        self.flood(70, C)
        self.assertEqual(len(self.us.manager.calls), 67)
        self.known.invite()
        self.run_for(0.01)
        self.assertEqual(self.known.peer.lines()[-1], "180 INVITE")
