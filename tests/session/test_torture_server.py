"""RFC 4475 and RFC 5118: what a fresh server answers to each message, by the ``server`` column.

Each message goes to a server of its own on the in-memory network.  `EXPECTED` gives the statuses
that the column allows, the preferred one first; this server has no registrar and no MESSAGE.
"""

from __future__ import annotations

import re
from random import Random
from typing import Any

from sessioncore.testing import messages
from tests.data import data_file, expected
from tests.session.scene import B, C, Caller, Party, Peer, Scene, answer, parsed

SILENCE = 0
# One status: what it must be.  Several: any, the preferred one first.
EXPECTED: dict[str, dict[str, tuple[int, ...]]] = {
    "rfc4475": {
        "wsinv": (481,),
        "intmeth": (501,),
        "esc01": (200, 404),
        "escnull": (405,),
        "esc02": (501,),
        "lwsdisp": (200,),
        "longreq": (200, 404),
        "dblreq": (405,),
        "semiuri": (200, 404),
        "transports": (200,),
        "mpart01": (405, 415, 501),
        "unreason": (SILENCE,),
        "noreason": (SILENCE,),
        "badinv01": (400,),
        "clerr": (400,),
        "ncl": (400,),
        "scalar02": (400,),
        "scalarlg": (SILENCE,),
        "quotbal": (400,),
        "ltgtruri": (400,),
        "lwsruri": (400,),
        "lwsstart": (400,),
        "trws": (400,),
        "escruri": (400,),
        "baddate": (200, 400),
        "regbadct": (405, 400),
        "badaspec": (400,),
        "baddn": (400, SILENCE),
        "badvers": (505,),
        "mismatch01": (400,),
        "mismatch02": (501, 400),
        "bigcode": (SILENCE,),
        "badbranch": (400, 200),
        "insuf": (400, SILENCE),
        "unkscm": (416,),
        "novelsc": (416,),
        "unksm2": (405,),
        "bext01": (420,),
        "invut": (415,),
        "regaut01": (405,),
        "multi01": (400,),
        "mcl01": (400,),
        "bcast": (SILENCE,),
        "zeromf": (200,),
        "cparam01": (405,),
        "cparam02": (405,),
        "regescrt": (405,),
        "sdp01": (406, 400),
        "inv2543": (200, 400),
    },
    "rfc5118": {
        "ipv6-good": (405,),
        "ipv6-bad": (400,),
        "port-ambiguous": (405,),
        "port-unambiguous": (405,),
        "via-received-param-with-delim": (481,),
        "via-received-param-no-delim": (200,),
        "ipv6-in-sdp": (488,),
        "mult-ip-in-header": (481,),
        "mult-ip-in-sdp": (200,),
        "ipv4-mapped-ipv6": (488,),
        "ipv6-bug-abnf-3-colons": (200,),
        "ipv6-correct-abnf-2-colons": (200,),
    },
}
# Ours is the other one, and why.
NOT_PREFERRED = {"mismatch02": "what is malformed is refused before its method is looked at"}
# What the answer must also carry.
HEADERS = {
    "bext01": ("Unsupported", "nothingSupportsThis, nothingSupportsThisEither"),
    "invut": ("Accept", "application/sdp, multipart/mixed"),
    "cparam01": ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS"),
    "regescrt": ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS"),
}
COUNTED = ("malformed", "unmatched_responses", "several_vias", "requests")


class TortureServer(Scene):
    folder: str

    def ask(self, data: bytes) -> tuple[list[Any], Party]:
        """The answers a fresh server gives to a datagram, and the server."""
        us = self.party(B, answer)
        peer = Peer(self.network.host(C), 5070, C)
        peer.send(data, (B, 5060))
        self.run_for(0.15)
        said = [each for each in self.network.captured if each.source == (B, 5060)]
        self.assertEqual({each.destination[0] for each in said} - {C}, set(), "answered elsewhere")
        answers = [each.data for each in said if each.data.startswith(b"SIP/2.0")]
        return [parsed(each) for each in answers], us

    def check(self, name: str) -> None:
        allowed = EXPECTED[self.folder][name]
        data = data_file(self.folder, name + ".dat")
        answers, us = self.ask(data)
        statuses = [each.status for each in answers] or [SILENCE]
        self.assertEqual(len(statuses), 1, statuses)
        (status,) = statuses
        self.assertIn(status, allowed)
        if name not in NOT_PREFERRED:
            self.assertEqual(status, allowed[0], "not the preferred outcome")
        if name in HEADERS:
            header, value = HEADERS[name]
            self.assertEqual(messages.header(answers[0].raw, header), value)
        self.assertEqual(us.manager._coordinator.layer.counters.dropped, 0)
        counted = sum(us.sip[each] for each in COUNTED)
        self.assertGreaterEqual(counted, 1, "not counted")
        self.assertEqual(us.manager.statistics().calls["handler_errors"], 0)
        self.assertEqual(us.manager._transports[0].errors, 0)
        self.assertEqual(self.flushLoggedErrors(), [])


def add_tests(case: type[TortureServer]) -> None:
    def test_of(name: str) -> Any:
        def test(self: TortureServer) -> None:
            self.check(name)

        return test

    for name in EXPECTED[case.folder]:
        setattr(case, "test_" + name.replace("-", "_"), test_of(name))


class Rfc4475Tests(TortureServer):
    folder = "rfc4475"

    def test_the_table_is_the_column(self) -> None:
        check_table(self, self.folder)

    def test_an_answer_copies_the_first_of_repeated_fields(self) -> None:
        answers, _ = self.ask(data_file(self.folder, "multi01.dat"))
        self.assertEqual(messages.header(answers[0].raw, "Call-ID"), "multi01.98asdh@192.0.2.1")

    def test_nothing_is_invented_where_fields_are_missing(self) -> None:
        answers, _ = self.ask(data_file(self.folder, "insuf.dat"))
        for name in ("Call-ID", "From", "To"):
            self.assertIsNone(messages.header(answers[0].raw, name))

    def test_the_trailing_request_of_a_datagram_is_not_read(self) -> None:
        answers, us = self.ask(data_file(self.folder, "dblreq.dat"))
        self.assertEqual([each.cseq.method for each in answers], [b"REGISTER"])
        self.assertEqual(us.incoming, [])

    def test_a_file_of_no_section_is_survived(self) -> None:
        self.ask(data_file(self.folder, "test.dat"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_client_of_rfc_2543_is_served_to_the_end(self) -> None:
        """No branch, no From tag: the INVITE is answered and repeated, its BYE understood."""
        answers, us = self.ask(data_file(self.folder, "inv2543.dat"))
        self.assertEqual([each.status for each in answers], [200])
        self.assertEqual(len(us.manager.calls), 1)


class Rfc5118Tests(TortureServer):
    folder = "rfc5118"

    def test_the_table_is_the_column(self) -> None:
        check_table(self, self.folder)

    def test_the_clients_received_is_overwritten(self) -> None:
        answers, _ = self.ask(data_file(self.folder, "via-received-param-with-delim.dat"))
        self.assertIn(b"received=" + C.encode(), answers[0].via.raw)
        self.assertNotIn(b"2001:db8::9:255", answers[0].via.raw)

    def test_video_is_declined_where_audio_is_taken(self) -> None:
        answers, _ = self.ask(data_file(self.folder, "mult-ip-in-sdp.dat"))
        body = answers[0].body
        self.assertRegex(body, rb"m=audio [1-9][0-9]+ RTP/AVP 0")
        self.assertIn(b"m=video 0 ", body)


add_tests(Rfc4475Tests)
add_tests(Rfc5118Tests)


def check_table(case: TortureServer, folder: str) -> None:
    """`EXPECTED` names each file of the column, with a status that stands in the cell."""
    rows = {row["file"].removesuffix(".dat"): row["server"] for row in expected(folder)}
    case.assertEqual(set(EXPECTED[folder]), set(rows))
    for name, statuses in EXPECTED[folder].items():
        accepted = {200} if "accept" in rows[name] else set()
        named = accepted | {int(each) for each in re.findall(r"\b[2-5][0-9]{2}\b", rows[name])}
        for status in set(statuses) - {SILENCE}:
            if named:  # "one answer, to REGISTER" names none
                case.assertIn(status, named, name)


class GarbageTests(Scene):
    def test_ten_thousand_datagrams_of_garbage(self) -> None:
        """Counted, never logged; and then a call, as if nothing had been."""
        us = self.party(B, answer)
        peer = self.peer(C)
        random = Random(5)
        self.network.capture = False
        whole = messages.invite()
        for number in range(10_000):
            kind = number % 4
            if kind == 0:
                data = random.randbytes(random.randrange(1, 200))
            elif kind == 1:
                data = whole[: random.randrange(5, len(whole))]
            elif kind == 2:
                place = random.randrange(len(whole))
                data = whole[:place] + random.randbytes(4) + whole[place + 4 :]
            else:
                data = b"\r\n\r\n" + random.randbytes(20)
            peer.send(data, (B, 5060))
            if number % 500 == 0:
                self.run_for(0.01)
        self.run_for(0.1)
        self.assertGreater(us.sip["malformed"], 5_000)
        self.assertEqual(us.manager._transports[0].errors, 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.run_for(70)
        for call in us.manager.calls:
            call.hang_up()
        self.run_for(70)
        self.assertEqual(us.manager.calls, [])
        coordinator: Any = us.manager._coordinator
        self.assertEqual((coordinator.layer.pending_servers, coordinator.layer.remembered), (0, 0))
        peer.take()
        Caller(peer, call_id="after", branch="z9hG4bKafter").established(self)
        self.assertEqual(len(us.manager.calls), 1)
