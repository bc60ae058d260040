"""The embedding API: starting, what may be given and replaced, what is told."""

from __future__ import annotations

import errno
import time
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from sessioncore.errors import ConfigurationError
from sessioncore.events import Event
from sessioncore.interfaces import ICallHandler, IEventObserver, IEventSink, ISipFlow, ISipTransport
from sessioncore.manager import SessionManager, _random_words
from sessioncore.media.sinks import Deliver, Discard, Record
from sessioncore.media.sources import Tone
from sessioncore.net.addresses import Listen
from sessioncore.net.clockwork import ReactorClockwork
from sessioncore.net.sip_udp import SipUdpTransport
from sessioncore.rtp.rtcp import SenderReport, parse_rtcp
from sessioncore.session.call import Call
from sessioncore.session.coordinator import OVERLOADED
from sessioncore.settings import Settings
from sessioncore.testing import messages
from sessioncore.testing.network import FakeNetwork, Link
from sessioncore.vocabulary import MILLISECOND, SECOND, MediaState
from tests.session.scene import A, B, Scene, answer


@implementer(ICallHandler)
class Handler:
    def __init__(self) -> None:
        self.calls: list[Call] = []

    def incoming_call(self, call: Call) -> Any:
        self.calls.append(call)
        return call.answer()


@implementer(IEventSink)
class Sink:
    def __init__(self) -> None:
        self.names: list[str] = []

    def event(self, event: Event) -> None:
        self.names.append(event.name)


class ManagerTests(Scene):
    def manager(self, address: str, *listen: str, **given: Any) -> SessionManager:
        settings = Settings(listen=listen or ("udp:5060",))
        manager = SessionManager(self.network.host(address), settings, **given)
        self.addCleanup(manager.stop, 0.0)
        return manager

    def test_objects_in_place_of_functions(self) -> None:
        handler, sink = Handler(), Sink()
        callee = self.manager(B, on_incoming=handler)
        callee.start()
        callee.add_event_sink(sink)
        caller = self.manager(A)
        caller.start()
        call = caller.call(f"sip:bob@{B}")
        self.run_for(0.1)
        self.assertEqual(len(handler.calls), 1)
        self.assertEqual(sink.names[0], "IncomingCall")
        callee.remove_event_sink(sink)
        told = len(sink.names)
        call.hang_up()
        self.run_for(0.1)
        self.assertEqual(len(sink.names), told)

    def test_observers_are_called_before_sinks_that_were_added_first(self) -> None:
        told: list[tuple[str, str]] = []

        @implementer(IEventObserver)
        class Observer:
            def event(self, event: Event) -> None:
                told.append(("observer", event.name))

        def decide(call: Call) -> Any:
            call.add_event_sink(lambda event: told.append(("call's sink", event.name)))
            call.add_event_sink(Observer())
            return call.answer()

        callee = self.manager(B, on_incoming=decide)
        callee.start()
        callee.add_event_sink(lambda event: told.append(("sink", event.name)))
        callee.add_event_sink(Observer())
        caller = self.manager(A)
        caller.start()
        caller.call(f"sip:bob@{B}")
        self.run_for(0.1)
        accepted = [who for who, name in told if name == "CallAccepted"]
        self.assertEqual(accepted, ["observer", "observer", "sink", "call's sink"])

    def check_sender_reports(self, wall: int) -> None:
        self.network = FakeNetwork(seed=1)
        self.network.advance(10_000.25)
        self.patch(time, "time_ns", lambda: wall)
        self.party(B, answer)
        caller, begun = self.party(A), self.network.now
        caller.call()
        self.run_for(8)
        reports = [
            (datagram.sent_at, packet)
            for datagram in self.network.captured
            if datagram.source[1] % 2 and datagram.data[:2] in (b"\x80\xc8", b"\x81\xc8")
            for packet in parse_rtcp(datagram.data)
            if isinstance(packet, SenderReport)
        ]
        self.assertGreater(len(reports), 1)
        for sent_at, report in reports:
            told = report.sender.ntp * SECOND >> 32
            expected = wall + sent_at - begun + 2_208_988_800 * SECOND
            # It has 32 bits of seconds.
            wrong = (expected - told) % (SECOND << 32)
            self.assertLess(min(wrong, (SECOND << 32) - wrong), 25 * MILLISECOND)

    def test_sender_reports_tell_the_time_of_the_wall(self) -> None:
        self.check_sender_reports(1_800_000_000 * SECOND)

    def test_sender_reports_where_the_monotonic_clock_is_ahead_of_the_wall(self) -> None:
        self.check_sender_reports(5 * SECOND)

    def check_jitter(self, jitter: float, least: float, most: float) -> None:
        self.network = FakeNetwork(seed=1, link=Link(delay=0.0123, jitter=jitter))
        self.party(B, answer)
        call = self.party(A).call()
        self.run_for(8)
        assert call.statistics is not None and call.statistics.jitter_ms is not None
        measured = call.statistics.jitter_ms
        self.assertTrue(least <= measured <= most, measured)

    def test_jitter_is_that_of_the_link(self) -> None:
        """Packets are read every 5 ms, but their jitter is less; read times would say 2.2 ms."""
        # Two uniform delays differ by a third of their range.
        self.check_jitter(0.004, 0.9, 1.8)

    def test_a_link_without_jitter_has_none(self) -> None:
        self.check_jitter(0.0, 0.0, 0.13)

    def test_random_bytes_are_asked_for_by_the_page_and_given_out_once(self) -> None:
        asked: list[int] = []

        def source(count: int) -> bytes:
            asked.append(count)
            return bytes([len(asked)]) * count

        words = _random_words(source)
        self.assertEqual(asked, [])
        first = [next(words) for _ in range(256)]
        self.assertEqual((first, asked), ([int("01" * 16, 16)] * 256, [4096]))
        self.assertEqual((next(words), asked), (int("02" * 16, 16), [4096, 4096]))

    def test_random_numbers_have_as_many_bits_as_are_asked_for(self) -> None:
        host = FakeNetwork(seed=1).host(A)
        ones, zeros = (
            SessionManager(host, random_bytes=lambda count, octet=octet: octet * count)
            for octet in (b"\xff", b"\0")
        )
        for bits in (1, 3, 15, 24, 32, 62, 64, 65, 96, 128):
            self.assertEqual(ones._random_bits(bits), (1 << bits) - 1, bits)
            self.assertEqual(zeros._random_bits(bits), 0, bits)
        self.assertRaises(ValueError, ones._random_bits, 129)
        self.assertEqual((ones._token(), zeros._token()), (b"f" * 16, b"0" * 16))

    def test_calls_before_the_start_fail(self) -> None:
        manager = self.manager(A)
        error = self.assertRaises(ConfigurationError, manager.call, f"sip:bob@{B}")
        self.assertIn("not started", str(error))
        self.assertEqual(manager.calls, [])

    def test_stopped_before_the_start_it_can_still_be_started(self) -> None:
        manager = self.manager(A)
        for _ in range(2):
            self.assertEqual(self.successResultOf(manager.stop()), 0)
        self.successResultOf(manager.start())
        self.assertEqual(manager.local_addresses, [("0.0.0.0", 5060)])
        stopped = manager.stop()
        self.run_for(0.1)
        self.assertEqual(self.successResultOf(stopped), 0)
        self.assertEqual(manager.local_addresses, [])

    def test_addresses(self) -> None:
        manager = self.manager(A, "udp:0", f"udp:5062:interface={A}")
        self.assertEqual(manager.local_addresses, [])
        self.successResultOf(manager.start())
        self.successResultOf(manager.start())
        (_, free), named = manager.local_addresses
        self.assertGreater(free, 0)
        self.assertEqual(named, (A, 5062))

    def test_wrong_settings(self) -> None:
        for listen in ("tcp:5060", "udp:x", "udp:5060:interface=example.com"):
            self.assertRaises(ConfigurationError, self.manager, A, listen)

    def test_an_interface_of_another_host(self) -> None:
        manager = self.manager(A, "udp:5060:interface=192.0.2.77")
        failure = self.failureResultOf(manager.start(), ConfigurationError)
        self.assertIn("192.0.2.77", str(failure.value))
        self.assertFalse(manager.running)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_a_clockwork_of_the_applications_own_is_left_running(self) -> None:
        clockwork = ReactorClockwork(self.network.clock)
        manager = self.manager(A, clockwork=clockwork)
        manager.start()
        manager.call("sip:nobody@192.0.2.99")
        self.assertIsNotNone(clockwork.deadlines.next())
        manager.stop(0.0)
        self.run_for(0.1)
        self.assertTrue(clockwork.running)
        self.assertIsNone(clockwork.deadlines.next(), "nothing of ours is timed any more")

    def test_two_managers_share_a_clockwork(self) -> None:
        clockwork = ReactorClockwork(self.network.clock)
        handler = Handler()
        callee = self.manager(B, on_incoming=handler, clockwork=clockwork)
        caller = self.manager(A, clockwork=clockwork)
        callee.start()
        caller.start()
        call = caller.call(f"sip:bob@{B}", source=Tone())
        self.run_for(2)
        for each in (call, *handler.calls):
            self.assertIs(each.media_state, MediaState.ACTIVE)
        for each in (caller, callee):
            self.assertEqual(each.statistics().media["packets_sent"], 100)

    def test_services_are_found_by_name(self) -> None:
        """SRV with weights: chance is drawn from what was injected."""
        for name in ("one", "two"):
            self.network.names.add_service("_sip._udp.example.com", name, 5060, weight=10)
            self.network.names.add(name, B)
        callee = self.party(B, answer)
        caller = self.manager(A)
        caller.start()
        caller.call("sip:bob@example.com")
        self.run_for(0.1)
        self.assertEqual(len(callee.incoming), 1)

    def test_a_media_event_that_cannot_be_reported_is_logged_and_counted(self) -> None:
        caller, callee = self.pair()

        def fail(*_: Any) -> None:
            raise ValueError("not reported")

        self.patch(caller.manager._coordinator.establishing, "media_event", fail)
        call = caller.call()
        self.run_for(1)
        errors = [party.manager.statistics().media["callback_errors"] for party in (caller, callee)]
        self.assertGreater(errors[0], 0)
        self.assertEqual(errors[1], 0)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertGreater(call.statistics.packets_received, 0)

    def test_the_ticks_stop_with_the_last_stream(self) -> None:
        caller, _ = self.pair()
        call = caller.call()
        self.run_for(1)
        call.hang_up()
        self.run_for(0.1)
        before = caller.manager.statistics().media["ticks"]
        self.run_for(5)
        self.assertEqual(caller.manager.statistics().media["ticks"], before)
        caller.call()
        self.run_for(1)
        self.assertGreater(caller.manager.statistics().media["ticks"], before + 100)


class WrongValuesTests(Scene):
    """What an application gives by mistake is refused at once, with what to give instead."""

    def refused(self, says: str, function: Any, *arguments: Any, **given: Any) -> None:
        with self.subTest(says):
            error = self.assertRaises(ConfigurationError, function, *arguments, **given)
            self.assertIn(says, str(error))

    def test_manager(self) -> None:
        host = self.network.host(A)
        self.refused("None is not a reactor; give", SessionManager, None)
        self.refused("{} is not a Settings; make one", SessionManager, host, {})
        self.refused("5 is not a call handler", SessionManager, host, on_incoming=5)
        manager = SessionManager(host)
        for wrong in (None, 5, b"sip:bob@192.0.2.2", ["sip:bob@192.0.2.2"]):
            says = f"{wrong!r} is not a SIP URI but {type(wrong).__name__}; give a string"
            self.refused(says, manager.call, wrong)
            if wrong is not None:
                self.refused(says, manager.call, f"sip:bob@{B}", from_uri=wrong)
        for wrong in (None, 5):
            for function in (manager.add_event_sink, manager.remove_event_sink):
                self.refused(f"{wrong} is not an event sink; give an IEventSink", function, wrong)
        for wrong in ("CallEnded", int, print):
            self.refused("is not an event class; give", manager.add_event_sink, print, wrong)
        self.refused("give the object that was added", manager.remove_event_sink, print)
        for wrong in ("4", -1, float("nan"), float("inf")):
            self.refused("is not usable; give seconds up to", manager.stop, wrong)

    def test_call(self) -> None:
        caller, callee = self.pair(lambda call: None)
        caller.call()
        self.run_for(0.1)
        call = callee.call_in
        self.refused("'busy' cannot refuse a call; give a status", call.reject, "busy")
        self.refused("5 is not a reason phrase; give a string", call.reject, 486, 5)
        for wrong in (None, "", 5):
            self.refused(f"{wrong!r} is not a URI to redirect to; write", call.redirect, wrong)
        call.reject()

    def test_source_and_sink(self) -> None:
        caller, callee = self.pair(lambda call: None)
        uri = f"sip:bob@{B}"
        for wrong in (5, "tone:440", b"", Tone, Discard(), object()):
            says = f"{wrong!r} is not a media source; use for example Tone()"
            self.refused(says, caller.manager.prepare_call, uri, source=wrong)
            self.refused(says, caller.manager.call, uri, source=wrong)
        for wrong in (5, "heard.wav", Tone(), Record, print):
            says = f"{wrong!r} is not a media sink; use for example Record('heard.wav')"
            self.refused(says, caller.manager.prepare_call, uri, sink=wrong)
            self.refused(says, caller.manager.call, uri, sink=wrong)
        self.assertEqual((caller.manager.calls, caller.events), ([], []))
        prepared = caller.manager.prepare_call(uri)
        caller.call()
        self.run_for(0.1)
        for call in (prepared, callee.call_in):
            self.refused("5 is not a media source", call.set_source, 5)
            self.refused("None is not a media source", call.set_source, None)
            self.refused("5 is not a media sink", call.set_sink, 5)
            self.refused("None is not a media sink", call.set_sink, None)

    def test_sinks_come_and_go_before_there_is_media_and_after(self) -> None:
        caller, _ = self.pair(lambda call: call.answer(source=Tone((440.0,))))
        first, second, third = [], [], []
        sinks = [Deliver(each.append) for each in (first, second, third)]
        call = caller.manager.prepare_call(f"sip:bob@{B}", sink=sinks[0])
        call.add_sink(sinks[1])
        call.add_sink(sinks[2])
        call.remove_sink(sinks[0])
        self.refused("is not among the sinks of this call", call.remove_sink, sinks[0])
        self.refused("5 is not a media sink", call.add_sink, 5)
        call.place()
        self.run_for(0.5)
        self.assertEqual(first, [])
        self.assertGreater(len(second), 10)
        self.assertEqual(len(second), len(third))
        call.remove_sink(sinks[1])
        call.add_sink(sinks[0])
        self.refused("is not among the sinks of this call", call.remove_sink, sinks[1])
        self.refused("5 is not a media sink", call.add_sink, 5)
        count = len(second)
        self.run_for(0.5)
        self.assertEqual(len(second), count)
        self.assertGreater(len(first), 20)
        self.assertEqual(len(third), count + len(first))
        call.set_sink(())
        self.run_for(0.5)
        self.assertEqual(len(third), count + len(first))

    def test_answered_with_what_is_no_source_the_call_still_waits(self) -> None:
        caller, callee = self.pair(lambda call: None)
        caller.call()
        self.run_for(0.1)
        for wishes in ({"source": 5}, {"sink": 5}):
            self.failureResultOf(callee.call_in.answer(**wishes), ConfigurationError)
        self.run_for(0.1)
        self.assertEqual((caller.names()[-1], callee.names()), ("CallInitiated", ["IncomingCall"]))
        self.successResultOf(callee.call_in.answer())

    def test_what_is_no_source_or_sink_takes_none_off(self) -> None:
        caller, callee = self.pair()
        heard: list[Any] = []
        call = caller.call(source=Tone((440.0,)), sink=Deliver(heard.append))
        self.run_for(0.5)
        for party in (call, callee.call_in):
            self.assertRaises(ConfigurationError, party.set_source, 5)
            self.assertRaises(ConfigurationError, party.set_sink, 5)
        count = len(heard)
        self.run_for(0.5)
        self.assertGreater(len(heard), count + 20)
        sent = [each.data for each in self.network.captured if each.source == call.local_rtp]
        self.assertGreater(len(set(sent[-1][12:])), 10, "silence")

    def test_port_ranges(self) -> None:
        for ports in ((40000, 40000), (40001, 40001), (40002, 40001), (1023, 9999), (1024, 65536)):
            self.refused("give at least two ports in 1024-65535", Settings, rtp_ports=ports)
        self.refused("give for example 40000-40003", Settings, rtp_ports=(40001, 40002))
        for ports in ((1024, 1025), (65534, 65535), (40001, 40003)):
            self.assertEqual(Settings(rtp_ports=ports).rtp_ports, ports)

    def test_settings(self) -> None:
        for name, wrong, says in (
            ("listen", "udp:5060", 'a tuple of strings, for example ("udp:5060",)'),
            ("listen", (), "a tuple of strings"),
            ("listen", (5060,), "a tuple of strings"),
            ("advertise", 5, "an IP address as a string"),
            ("media_ip", b"192.0.2.1", "an IP address as a string"),
            ("rtp_ports", "40000-49999", "a pair of ports, for example (40000, 49999)"),
            ("rtp_ports", (40000, 49999, 1), "first and last"),
            ("rtp_ports", (40000.0, 49999), "first and last"),
            ("codecs", "PCMU", 'a tuple of names, for example ("PCMU",)'),
            ("ptime", 30, "20, 40 or 60 ms"),
            ("ptime", "20", "20, 40 or 60 ms"),
            ("ptime", True, "20, 40 or 60 ms"),
            ("max_calls", "7", "a number"),
            ("trusted_sources", "192.0.2.0/24", "a tuple of networks"),
            ("max_calls", True, "a number"),
            ("ring_limit", "7", "a number of seconds"),
            ("nat", "auto", "True, False or None"),
            ("user_agent", None, "text"),
            ("user_agent", "phone\r\nVia: x", "plain ASCII"),
        ):
            self.refused(f"{name}: {wrong!r} is not usable; give {says}", Settings, **{name: wrong})
        for seconds in (0, -1, 86_401, float("nan")):
            self.refused("ring_limit: ", Settings, ring_limit=seconds)


@implementer(ISipFlow, ISipTransport)
class Wire:
    """A transport that is no socket: what one end sends, the other receives a moment later."""

    reliable = False
    transport = b"UDP"
    alive = True
    backlog = 0
    unsent = 0
    over_share = 0

    def __init__(self, host: Any, address: str) -> None:
        self.host = host
        self.local = (address, 5060)
        self.other: Wire
        self.sent: list[bytes] = []
        self.receive: Any = None

    def flow_to(self, target: Any) -> Wire:
        return self

    def open(self, receive: Any, unreachable: Any, lost: Any) -> None:
        self.receive = receive

    def close(self) -> None:
        self.receive = None

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        self.sent.append(data)
        self.host.callLater(0.001, self.other.arrive, data, self.local)

    def arrive(self, data: bytes, source: tuple[str, int]) -> None:
        if self.receive is not None:
            self.receive(data, source, self, round(self.host.seconds() * 1e9))

    def sent_by(self, peer: str) -> bytes:
        return b"%b:5060" % self.local[0].encode()


class TransportTests(Scene):
    def test_sip_goes_by_the_transports_that_are_given(self) -> None:
        wires = [Wire(self.network.host(address), address) for address in (A, B)]
        wires[0].other, wires[1].other = wires[1], wires[0]
        self.assertTrue(verifyObject(ISipTransport, wires[0]))
        caller, callee = (
            SessionManager(wire.host, on_incoming=answer, transports=[wire]) for wire in wires
        )
        for manager in (caller, callee):
            self.successResultOf(manager.start())
        self.assertEqual(caller.local_addresses, [(A, 5060)])
        call = caller.call(f"sip:bob@{B}")
        self.run_for(0.5)
        self.assertIs(call.media_state, MediaState.ACTIVE)
        stopping = caller.stop()
        self.run_for(0.5)
        self.assertEqual(self.successResultOf(stopping), 0)
        self.assertIsNone(wires[0].receive)
        self.assertTrue(wires[0].sent[-1].startswith(b"BYE "))
        self.assertEqual(self.network.sent(b"INVITE"), [])
        callee.stop(0.0)
        self.run_for(0.1)

    def test_a_backlog_of_messages_is_worked_off_before_calls_are_taken(self) -> None:
        wire = Wire(self.network.host(B), B)
        wire.other = Wire(self.network.host(A), A)
        manager = SessionManager(wire.host, on_incoming=answer, transports=[wire])
        manager.start()
        wire.backlog = OVERLOADED + 1
        wire.arrive(messages.invite(body=messages.offer(A)), (A, 5060))
        self.assertTrue(wire.sent[-1].startswith(b"SIP/2.0 503 "))
        self.assertEqual(messages.header(wire.sent[-1], "Retry-After"), "10")
        self.assertEqual(manager.statistics().calls["refused_overloaded"], 1)
        wire.backlog = OVERLOADED
        wire.arrive(messages.invite(body=messages.offer(A), call_id="again"), (A, 5060))
        self.assertTrue(wire.sent[-1].startswith(b"SIP/2.0 200 "))
        manager.stop(0.0)
        self.run_for(0.1)

    def test_of_a_faulty_call_in_overload_no_event_is_told(self) -> None:
        wire = Wire(self.network.host(B), B)
        wire.other = Wire(self.network.host(A), A)
        manager = SessionManager(wire.host, on_incoming=answer, transports=[wire])
        manager.start()
        told: list[str] = []
        manager.add_event_sink(lambda event: told.append(event.name))
        for backlog, expected in (
            (OVERLOADED + 1, []),
            (OVERLOADED, ["IncomingCall", "CallFailed"]),
        ):
            wire.backlog = backlog
            headers = [("Require", "100rel")]
            invite = messages.invite(headers=headers, call_id=f"n{backlog}")
            wire.arrive(invite, (A, 5060))
            self.assertTrue(wire.sent[-1].startswith(b"SIP/2.0 420 "))
            self.assertEqual(told, expected)
        manager.stop(0.0)
        self.run_for(0.1)

    def test_udp_is_one_of_them(self) -> None:
        host = self.network.host(A)
        udp = SipUdpTransport(host, Listen(5060), ReactorClockwork(host))
        self.assertTrue(verifyObject(ISipTransport, self.opened(udp)))
        self.assertTrue(verifyObject(ISipFlow, udp.flow))
        udp.close()
        self.assertIsNone(udp.close())

    @staticmethod
    def opened(udp: SipUdpTransport) -> SipUdpTransport:
        udp.open(lambda *_: None, lambda *_: None, lambda *_: None)
        return udp

    def test_what_the_socket_does_not_send_is_counted(self) -> None:
        host = self.network.host(A)
        udp = SipUdpTransport(host, Listen(5060), ReactorClockwork(host))
        manager = SessionManager(host, transports=[udp])
        self.assertEqual(manager.statistics().sip_unsent, 0)
        self.successResultOf(manager.start())
        port: Any = udp._port
        port.fail_writes = OSError(errno.ENOBUFS, "full")
        manager.call(f"sip:bob@{B}")
        self.assertEqual(manager.statistics().sip_unsent, 1)
        port.fail_writes = OSError(errno.EPERM, "the firewall said no")
        manager.call(f"sip:bob@{B}")
        self.assertEqual(manager.statistics().sip_unsent, 2)
        port.fail_writes = None
        manager.stop(0.0)
        self.run_for(0.1)
        self.assertEqual(manager.statistics().sip_unsent, 2)

    def test_what_exceeds_a_fair_share_is_counted(self) -> None:
        host = self.network.host(A)
        udp = SipUdpTransport(host, Listen(5060), ReactorClockwork(host))
        manager = SessionManager(host, transports=[udp])
        self.assertEqual(manager.statistics().sip["over_share"], 0)
        self.successResultOf(manager.start())
        protocol: Any = udp._protocol
        for _ in range(2):
            for source in (B, "192.0.2.99"):
                for _ in range(200):
                    protocol.take_fairly(b"x", (source, 5060))
            self.run_for(0.025)
        counted = manager.statistics().sip
        self.assertGreater(counted["over_share"], 0)
        self.assertEqual(counted["over_share"] + counted["malformed"], 800)
        manager.stop(0.0)
        self.run_for(0.1)
        self.assertEqual(manager.statistics().sip, counted)

    def test_not_open_yet(self) -> None:
        host = self.network.host(A)
        udp = SipUdpTransport(host, Listen(5060), ReactorClockwork(host))
        self.assertRaises(RuntimeError, lambda: udp.flow)


class ReplayTests(Scene):
    def test_a_call_replays_byte_for_byte(self) -> None:
        def captured() -> list[bytes]:
            network = FakeNetwork(seed=3)
            drawn = iter(range(100_000))

            def random_bytes(count: int) -> bytes:
                return (
                    (next(drawn) * 2_654_435_761 % (1 << 64))
                    .to_bytes(8, "big")
                    .rjust(count)[-count:]
                )

            managers = []
            for address, handler in ((A, None), (B, answer)):
                manager = SessionManager(
                    network.host(address), on_incoming=handler, random_bytes=random_bytes
                )
                manager.start()
                managers.append(manager)
            call = managers[0].call(f"sip:bob@{B}")
            network.advance(1)
            call.hang_up()
            network.advance(0.1)
            for manager in managers:
                manager.stop(0.0)
            network.advance(0.1)
            # RTCP carries the time of day.
            return [each.data for each in network.captured if not 200 <= each.data[1] <= 207]

        first, second = captured(), captured()
        self.assertGreater(len(first), 90)
        self.assertEqual(first, second)
