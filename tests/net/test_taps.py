"""Message taps: every SIP message in and out, at no cost while there is none."""

from __future__ import annotations

import errno
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from sessioncore.errors import ConfigurationError
from sessioncore.interfaces import IMessageTap, IReportTap
from sessioncore.manager import SessionManager
from sessioncore.vocabulary import Address, MediaState
from sessioncore.watching.walk import Walk
from tests.session.scene import A, B, C, Caller, Party, Scene, answer, line
from tests.test_manager import Wire


@implementer(IMessageTap)
class Kept:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Address, Address, str, bool, int]] = []

    def message(self, *given: Any) -> None:
        self.messages.append(given)

    def lines(self) -> list[str]:
        """``> INVITE``, ``< 200 INVITE``."""
        return [f"{'<>'[sent]} {line(data)}" for data, _, _, _, sent, _ in self.messages]


class Broken:
    def __init__(self) -> None:
        self.asked = 0

    def message(self, *given: Any) -> None:
        self.asked += 1
        raise ValueError("the disk is full")


CALLEE = ["< INVITE", "> 200 INVITE", "< ACK", "< BYE", "> 200 BYE"]


class TapTests(Scene):
    def tapped(self, address: str = B, decide: Any = answer) -> tuple[Party, Kept]:
        party, tap = self.party(address, decide), Kept()
        party.manager.add_message_tap(tap)
        return party, tap

    def test_it_gets_every_message_with_its_addresses(self) -> None:
        us, tap = self.tapped(A, None)
        _them, other = self.tapped(B)
        self.assertTrue(verifyObject(IMessageTap, tap))
        call = us.call()
        self.run_for(0.5)
        call.hang_up()
        self.run_for(0.5)
        self.assertEqual(other.lines(), CALLEE)
        mirrored = [each.translate({60: 62, 62: 60}) for each in CALLEE]
        self.assertEqual(tap.lines(), mirrored)
        wire = [each for each in self.network.captured if each.source[1] == 5060]
        for kept in (tap, other):
            self.assertEqual(
                [given[:4] for given in kept.messages],
                [(each.data, each.source, each.destination, "UDP") for each in wire],
            )
        left = [given[5] for given in tap.messages if given[4]]
        self.assertEqual(left, [each.sent_at for each in wire if each.source[0] == A])
        came = [given[5] for given in other.messages if not given[4]]
        self.assertTrue(all(at >= was for at, was in zip(came, left, strict=True)))

    def test_both_ways_of_repetition(self) -> None:
        _us, tap = self.tapped()
        caller = Caller(self.peer(C))
        caller.invite()
        self.run_for(0.01)
        caller.invite()
        self.run_for(0.01)
        self.assertEqual(tap.lines(), ["< INVITE", "> 200 INVITE", "< INVITE"])
        self.run_for(0.5)  # without an ACK, the 200 is repeated after T1
        self.assertEqual(tap.lines()[3:], ["> 200 INVITE"])

    def test_what_no_parser_reads_and_what_is_refused_without_state(self) -> None:
        _us, tap = self.tapped()
        peer = self.peer(C)
        peer.send(b"\x00\xffgarbage", (B, 5060))
        peer.send(b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.3\r\n\r\n", (B, 5060))
        self.run_for(0.1)
        self.assertEqual(tap.messages[0][0], b"\x00\xffgarbage")
        self.assertEqual([given[4] for given in tap.messages], [False, False, True])
        self.assertTrue(tap.messages[2][0].startswith(b"SIP/2.0 400 "))

    def test_a_tap_that_raises_harms_nobody(self) -> None:
        us, tap = self.tapped()
        broken = Broken()
        us.manager.remove_message_tap(tap)
        us.manager.add_message_tap(broken)
        us.manager.add_message_tap(tap)
        them = self.party(A)
        call = them.call()
        self.run_for(0.5)
        self.assertIs(call.media_state, MediaState.ACTIVE)
        call.hang_up()
        self.run_for(0.5)
        self.assertEqual(tap.lines(), CALLEE)
        self.assertEqual(broken.asked, 5)
        self.assertEqual(us.manager.statistics().tap_errors, 5)
        (_logged,) = self.flushLoggedErrors(ValueError)
        self.assertEqual(us.manager._transports[0].errors, 0)

    def test_removed_taps_get_nothing_and_cost_nothing(self) -> None:
        us, tap = self.tapped()
        coordinator: Any = us.manager._coordinator
        other = Kept()
        us.manager.add_message_tap(other)
        them = self.party(A)
        call = them.call()
        self.run_for(0.1)
        us.manager.remove_message_tap(tap)
        call.hang_up()
        self.run_for(0.1)
        self.assertEqual((tap.lines(), other.lines()), (CALLEE[:3], CALLEE))
        self.assertIn("transmit", vars(coordinator.layer))
        us.manager.remove_message_tap(other)
        self.assertEqual(coordinator._take, coordinator.layer.receive)
        self.assertNotIn("transmit", vars(coordinator.layer))
        them.call()
        self.run_for(0.1)
        self.assertEqual(other.lines(), CALLEE)

    def test_without_a_tap_the_functions_are_the_plain_ones(self) -> None:
        coordinator: Any = self.party(A).manager._coordinator
        self.assertEqual(coordinator._take, coordinator.layer.receive)
        self.assertNotIn("transmit", vars(coordinator.layer))

    def test_what_could_not_be_sent_is_not_reported(self) -> None:
        us, tap = self.tapped(A)
        port: Any = us.manager._transports[0]._port  # type: ignore[attr-defined]
        port.fail_writes = OSError(errno.EPERM, "the firewall said no")
        us.call()
        self.run_for(0.1)
        self.assertEqual(tap.messages, [])
        self.assertEqual(us.sip["send_failures"], 1)
        port.fail_writes = None

    def test_after_the_stop_nothing_leaves(self) -> None:
        us, tap = self.tapped(A)
        us.manager.stop(0.0)
        self.run_for(0.1)
        layer: Any = us.manager._coordinator.layer
        layer.transmit(b"BYE", None, (B, 5060))
        self.assertEqual((tap.messages, layer.counters.dropped), ([], 1))

    def test_transports_of_the_application(self) -> None:
        wires = [Wire(self.network.host(address), address) for address in (A, B)]
        wires[0].other, wires[1].other = wires[1], wires[0]
        kept = []
        for wire in wires:
            manager = SessionManager(wire.host, on_incoming=answer, transports=[wire])
            self.successResultOf(manager.start())
            kept.append(Kept())
            manager.add_message_tap(kept[-1])
            self.addCleanup(manager.stop, 0.0)
        manager.call(f"sip:bob@{A}")
        self.run_for(0.5)
        self.assertEqual(kept[0].lines(), CALLEE[:3])
        self.assertEqual(kept[0].messages[0][1:5], ((B, 5060), (A, 5060), "UDP", False))

    def test_beside_a_tracer(self) -> None:
        out: Any = type("Out", (), {"write": lambda _, text: None, "flush": lambda _: None})()
        host = self.network.host(A)
        manager = SessionManager(host, tracer=Walk(out, "UAC"))
        self.successResultOf(manager.start())
        tap = Kept()
        manager.add_message_tap(tap)
        self.party(B, answer)
        manager.call(f"sip:bob@{B}")
        self.run_for(0.1)
        self.assertEqual(tap.lines(), ["> INVITE", "< 200 INVITE", "> ACK"])
        manager.stop(0.0)
        self.run_for(0.1)

    def test_an_address_without_a_route_is_shown_as_bound(self) -> None:
        us, tap = self.tapped()

        def no_route(flow: Any, peer: str) -> str:
            raise OSError(errno.ENETUNREACH, "no route")

        us.manager._taps._local_ip = no_route
        self.party(A).call()
        self.run_for(0.1)
        self.assertEqual(tap.messages[0][2], ("0.0.0.0", 5060))

    def test_what_is_not_a_tap(self) -> None:
        us, tap = self.tapped()
        wrong: Any = print
        error = self.assertRaises(ConfigurationError, us.manager.add_message_tap, wrong)
        self.assertIn("is not a message tap; give an IMessageTap", str(error))
        error = self.assertRaises(ConfigurationError, us.manager.remove_message_tap, Kept())
        self.assertIn("is not among the message taps", str(error))
        us.manager.remove_message_tap(tap)
        self.assertRaises(ConfigurationError, us.manager.remove_message_tap, tap)


@implementer(IReportTap)
class Reports:
    """Keeps the RTCP it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []

    def report(self, *given: Any) -> None:
        self.given.append(given)


class ReportTapTests(Scene):
    def wire(self) -> list[Any]:
        """All RTCP that went over the network."""
        return [
            each
            for each in self.network.captured
            if each.source[1] != 5060 and 200 <= each.data[1] <= 207
        ]

    def test_it_gets_all_rtcp_with_its_call(self) -> None:
        us, them = self.party(A), self.party(B, answer)
        tap, other = Reports(), Reports()
        self.assertTrue(verifyObject(IReportTap, tap))
        us.manager.add_report_tap(tap)
        them.manager.add_report_tap(other)
        call = us.call()
        self.run_for(7)
        call.hang_up()
        self.run_for(0.6)
        wire = self.wire()
        self.assertGreater(len(wire), 4)
        for kept, address in ((tap, A), (other, B)):
            self.assertEqual(
                [(given[0], given[1], given[2]) for given in kept.given],
                [(each.data, each.source, each.destination) for each in wire],
            )
            self.assertEqual(
                [given[3] for given in kept.given], [each.source[0] == address for each in wire]
            )
            self.assertEqual({given[5] for given in kept.given}, {call.call_id})
        sent = [(given[0], given[4]) for given in tap.given if given[3]]
        self.assertEqual(sent, [(each.data, each.sent_at) for each in wire if each.source[0] == A])

    def test_added_and_removed_during_a_call(self) -> None:
        us, _them = self.pair()
        tap = Reports()
        call = us.call()
        self.run_for(0.1)
        plane: Any = us.manager.plane
        (stream,) = [each for each in plane._streams if each is not None]
        self.assertEqual({"open", "free", "_take_rtcp"} & set(vars(plane)), set())
        self.assertNotIn("report", vars(stream))
        us.manager.add_report_tap(tap)
        self.run_for(7)
        count = len(tap.given)
        self.assertGreater(count, 2)
        self.assertEqual({given[3] for given in tap.given}, {True, False})
        us.manager.remove_report_tap(tap)
        self.assertEqual({"open", "free", "_take_rtcp"} & set(vars(plane)), set())
        self.assertNotIn("report", vars(stream))
        self.run_for(7)
        call.hang_up()
        self.run_for(1)
        self.assertEqual(len(tap.given), count)

    def test_a_finished_stream_does_not_refer_to_itself(self) -> None:
        """Only the garbage collector would end that, and the daemon runs it when it is idle."""
        us, _them = self.pair()
        us.manager.add_report_tap(Reports())
        call = us.call()
        self.run_for(0.1)
        plane: Any = us.manager.plane
        (stream,) = [each for each in plane._streams if each is not None]
        self.assertIn("report", vars(stream))
        call.hang_up()
        self.run_for(1)
        self.assertNotIn("report", vars(stream))
        self.assertFalse(plane.active)

    def test_what_did_not_leave_is_not_reported(self) -> None:
        us, _them = self.pair()
        tap = Reports()
        us.manager.add_report_tap(tap)
        us.call()
        self.run_for(0.1)
        plane: Any = us.manager.plane
        (stream,) = [each for each in plane._streams if each is not None]

        def fails(data: bytes, address: Address) -> None:
            raise OSError(errno.EPERM, "the firewall said no")

        stream.lease.send_rtcp = fails
        self.run_for(7)
        self.assertEqual({given[3] for given in tap.given}, {False})

    def test_a_tap_that_raises_harms_nobody(self) -> None:
        class Raises:
            def report(self, *given: Any) -> None:
                raise ValueError("no")

        us, _them = self.pair()
        tap = Reports()
        us.manager.add_report_tap(Raises())
        us.manager.add_report_tap(tap)
        call = us.call()
        self.run_for(7)
        self.assertIs(call.media_state, MediaState.ACTIVE)
        self.assertEqual(us.manager.statistics().tap_errors, len(tap.given))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(us.manager.plane.statistics.callback_errors, 0)

    def test_what_is_not_a_tap(self) -> None:
        us = self.party(A)
        wrong: Any = print
        error = self.assertRaises(ConfigurationError, us.manager.add_report_tap, wrong)
        self.assertIn("is not a report tap; give an IReportTap: an object with", str(error))
        error = self.assertRaises(ConfigurationError, us.manager.remove_report_tap, Reports())
        self.assertIn("is not among the report taps", str(error))
