"""A server process against what strangers do: garbage, too many calls, too few ports, IPv6."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
from unittest import SkipTest

from sessioncore.net.sip_udp import RECEIVE_BUFFER
from sessioncore.session.coordinator import OVERLOADED
from tests.split.caller import SDP, Caller
from tests.split.processes import Process, ProcessTestCase, port_of, read_events

SO_RCVBUFFORCE = 33


class LimitsTests(ProcessTestCase):
    def server(
        self, *options: str, listen: str = "udp:0:interface=127.0.0.1"
    ) -> tuple[Process, int]:
        server = self.twistd("--role=uas", f"--listen={listen}", *options)
        return server, port_of(server.line("UAS on "))

    def finish(self, server: Process) -> None:
        server.terminate()
        self.assertEqual(server.wait(), -15, server.output)
        self.assertNotIn("Traceback", server.output)

    def test_garbage(self) -> None:
        server, port = self.server()
        caller = Caller(self, port, 1)
        chance = random.Random(1)
        proper = caller.text("INVITE", body="v=0\r\n").encode()
        for number in range(10_000):
            kind = number % 4
            if kind == 0:
                data = chance.randbytes(chance.randrange(1, 400))
            elif kind == 1:
                data = proper[: chance.randrange(len(proper))]
            elif kind == 2:
                place = chance.randrange(len(proper))
                data = proper[:place] + chance.randbytes(3) + proper[place + 3 :]
            else:
                data = b"SIP/2.0 200 OK\r\n" * chance.randrange(1, 20)
            caller.socket.send(data)
            if not number % 500:
                self.answers(caller, number)
        self.finish(server)
        # What it says of itself, the few calls that mangled bytes still make, no more.
        noise = [line for line in server.lines if not line.startswith("[UAS] ")]
        self.assertLess(len(noise), 60, "\n".join(noise))

    def answers(self, caller: Caller, number: int) -> None:
        """It still takes part: OPTIONS are answered (and the queues are empty by then)."""
        caller.call_id = f"options-{number}"
        caller.to = f"<{caller.uri}>"
        caller.send("OPTIONS")
        while "options-" not in caller.receive("SIP/2.0 200"):
            pass

    def test_max_calls(self) -> None:
        server, port = self.server("--max-calls=1")
        first, second = Caller(self, port, 1), Caller(self, port, 2)
        first.invite()
        first.receive("SIP/2.0 200")
        first.send("ACK", branch="ack")
        second.invite()
        self.assertIn("\r\nRetry-After: ", second.receive("SIP/2.0 503"))
        first.send("BYE", 2, branch="bye")
        first.receive("SIP/2.0 200")
        third = Caller(self, port, 3)
        third.invite()
        third.receive("SIP/2.0 200")
        third.send("ACK", branch="ack")
        server.terminate()
        third.answer(third.receive("BYE "))
        self.assertEqual(server.wait(), -15, server.output)

    def test_a_flood(self) -> None:
        """INVITEs that come faster than they are read: it stands still while they are sent."""
        server, port = self.server("--answer=echo")
        flood = Caller(self, port, 1)
        server.popen.send_signal(signal.SIGSTOP)
        os.waitpid(server.popen.pid, os.WUNTRACED)
        # Long ones, so that few of them are taken on once there is no more than OVERLOADED left.
        body = SDP.format(rtp=49_170) + "a=inactive\r\na=" + "x" * 3000 + "\r\n"
        for number in range(self.more_than_is_read_in_time(len(body))):
            flood.call_id = f"flood-{number}"
            flood.send("INVITE", body=body)
        server.popen.send_signal(signal.SIGCONT)
        self.assertIn("\r\nRetry-After: ", flood.receive("SIP/2.0 503"))
        # From the first that is taken on nothing stands in the way of others any more.
        flood.receive("SIP/2.0 200")
        client = self.command(
            *("call", f"sip:callee@127.0.0.1:{port}", "--listen=udp:0:interface=127.0.0.1"),
            *("--play=tone:440", "--duration=1"),
        )
        self.assertEqual(client.wait(), 0, client.output)
        self.finish(server)

    def more_than_is_read_in_time(self, size: int) -> int:
        """How many datagrams of at least ``size`` octets hold half as much again as `OVERLOADED`.

        The kernel counts up to twice as much for each, and has to have room for that.
        """
        octets = 3 * OVERLOADED // 2
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for option in (socket.SO_RCVBUF, SO_RCVBUFFORCE):
                with contextlib.suppress(OSError):
                    probe.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
            given = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        if given < 2 * octets:
            raise SkipTest(f"{given} bytes to receive in are too few: set net.core.rmem_max")
        return octets // size + 1

    def test_rtp_ports_exhausted(self) -> None:
        server, port = self.server("--rtp-ports=47000-47001")
        first, second = Caller(self, port, 1), Caller(self, port, 2)
        first.invite()
        first.receive("SIP/2.0 200")
        first.send("ACK", branch="ack")
        second.invite()
        self.assertIn("\r\nRetry-After: ", second.receive("SIP/2.0 503"))
        first.send("BYE", 2, branch="bye")
        first.receive("SIP/2.0 200")
        self.finish(server)

    def test_ipv6(self) -> None:
        if not socket.has_ipv6:
            self.fail("this Python has no IPv6")
        server, port = self.server(
            "--events=uas.jsonl", "--answer=echo:-6", listen=r"udp:0:interface=\:\:1"
        )
        client = self.command(
            *("call", f"sip:bob@[::1]:{port}", r"--listen=udp:0:interface=\:\:1"),
            *("--play=tone:440", "--duration=1"),
        )
        self.assertEqual(client.wait(), 0, client.output)
        server.line("[UAS] Event: CallEnded")
        self.finish(server)
        flows = [
            record["remote"][0]
            for record in read_events(self.folder / "uas.jsonl")
            if record["event"] == "MediaFlowEstablished"
        ]
        self.assertEqual(flows, ["::1"])
