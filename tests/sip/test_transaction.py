"""Every cell of the four transaction tables, and what a transaction says by itself."""

from __future__ import annotations

from enum import Enum
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import UnexpectedInput
from sessioncore.sip.client import (
    ClientInviteState,
    ClientOtherState,
    InviteClientTransaction,
    OtherClientTransaction,
)
from sessioncore.sip.message import Request, Response, parse_message
from sessioncore.sip.server import (
    ACCEPTED_MARK,
    CONFIRMED_MARK,
    SERVER_INVITE,
    SERVER_OTHER,
    ServerInviteState,
    ServerOtherState,
    ServerTransaction,
)
from sessioncore.sip.steps import (
    GIVE_UP,
    REPEATS,
    STEP_OF_T2,
    T1,
    T2,
    Acked,
    AnswerFailure,
    AnswerProvisional,
    AnswerSuccess,
    Cancel,
    CancelExpired,
    Cancelled,
    Failure,
    GiveUp,
    LingerOver,
    MinuteOver,
    Provisional,
    Refuse,
    RepeatDue,
    Retransmission,
    StillSilent,
    Success,
    TransportFailed,
    Unreachable,
)
from sessioncore.sip.transaction import TABLES
from sessioncore.table import Table
from tests.sip.fakes import PEER, FakeFlow, FakeUser, request, response

RAISES = "raises"
NOW = 7


class RecordingKeeper:
    """Writes down what a transaction asks for."""

    response_headers = ()

    def __init__(self, flow: FakeFlow) -> None:
        self.flow = flow
        self.log: list[Any] = []

    def transmit(self, data: bytes, flow: Any, address: Any) -> bool:
        first = data.split(b" ", 2)
        self.log.append("send " + (first[1] if data.startswith(b"SIP/") else first[0]).decode())
        return True

    def __getattr__(self, name: str) -> Any:
        def record(*arguments: Any) -> Any:
            if name == "retire":
                kept = {ACCEPTED_MARK: "accepted", CONFIRMED_MARK: "confirmed"}
                self.log.append("retire " + kept.get(arguments[1], "response"))
            elif name == "computed_tag":
                return b"computed"
            elif name != "count_repeat":
                self.log.append(name)
            return None

        return record


def parsed(data: bytes) -> Any:
    return parse_message(data)


class CellTests(SynchronousTestCase):
    """Each table against a table of its own, cell by cell: new state and what was done."""

    def make(self, kind: Any, state: Enum) -> tuple[Any, RecordingKeeper, FakeUser]:
        flow = FakeFlow()
        keeper = RecordingKeeper(flow)
        user = FakeUser()
        if kind in (InviteClientTransaction, OtherClientTransaction):
            method = b"INVITE" if kind is InviteClientTransaction else b"BYE"
            tx = kind(keeper, user, request(method), method, PEER, flow, b"z9hG4bK-1")
            tx.ack = b"ACK sip:x SIP/2.0"
        else:
            method = b"INVITE" if kind is SERVER_INVITE else b"BYE"
            asked = parsed(request(method))
            tx = ServerTransaction(
                kind, keeper, asked, b"key", PEER, PEER, flow, asked.first(b"Via"), NOW
            )
            tx.last = b"SIP/2.0 111 Last"
        tx.state = state
        return tx, keeper, user

    def given(self, kind: Any, given: type) -> Any:
        if issubclass(given, (Provisional, Success, Failure)):
            status = {Provisional: 180, Success: 200, Failure: 486}[given]
            source = InviteClientTransaction(
                RecordingKeeper(FakeFlow()),  # type: ignore[arg-type]
                FakeUser(),
                request(),
                b"INVITE",
                PEER,
                FakeFlow(),
                b"z9hG4bK-1",
            )
            return given(NOW, parsed(response(source, status)))
        if issubclass(given, (AnswerProvisional, AnswerSuccess, AnswerFailure, Refuse)):
            return given(NOW, b"SIP/2.0 222 Now")
        if given is Cancelled:
            return given(NOW, parsed(request(b"CANCEL")))
        return given(NOW)

    def check(self, kind: Any, expected: dict[Any, Any]) -> None:
        table = kind if isinstance(kind, Table) else kind.table
        cells = {(state, given) for state in table.states for given in table.inputs}
        self.assertEqual(cells, set(expected))
        for (state, given), result in expected.items():
            with self.subTest(f"{given.__name__} in {state}"):
                tx, keeper, user = self.make(kind, state)
                if result == RAISES:
                    self.assertRaises(UnexpectedInput, tx.feed, self.given(kind, given))
                    self.assertEqual((tx.state, keeper.log, user.log), (state, [], []))
                    continue
                goes_to, done = result
                tx.feed(self.given(kind, given))
                told = [" ".join(map(str, entry)) for entry in user.log]
                self.assertEqual((tx.state, keeper.log + told), (goes_to, done))

    def rows(self, expected: dict[Any, Any], given: type, *cells: Any) -> None:
        for states, goes_to, done in cells:
            for state in states:
                self.assertNotIn((state, given), expected)
                if goes_to == RAISES:
                    expected[state, given] = RAISES
                else:
                    expected[state, given] = (state if goes_to is None else goes_to, done)

    def test_client_invite(self) -> None:
        s = ClientInviteState
        calling, held, proceeding, cancelling = s.CALLING, s.HELD, s.PROCEEDING, s.CANCELLING
        completed, accepted, terminated = s.COMPLETED, s.ACCEPTED, s.TERMINATED
        open_ = (calling, held, proceeding, cancelling)
        over = (completed, accepted, terminated)
        expected: dict[Any, Any] = {}
        self.rows(
            expected,
            Provisional,
            ((calling,), proceeding, ["response 180"]),
            ((held,), cancelling, ["send_cancel", "response 180"]),
            ((proceeding, cancelling), None, ["response 180"]),
            (over, None, []),
        )
        self.rows(
            expected,
            Success,
            (open_, accepted, ["settle", "response 200"]),
            ((accepted,), None, ["response 200"]),
            ((completed, terminated), None, []),
        )
        self.rows(
            expected,
            Failure,
            (open_, completed, ["send ACK", "settle", "response 486"]),
            ((completed,), None, ["send ACK"]),
            ((accepted, terminated), None, []),
        )
        self.rows(
            expected,
            Cancel,
            ((calling,), held, []),
            ((proceeding,), cancelling, ["send_cancel"]),
            ((held, cancelling, *over), None, []),
        )
        self.rows(
            expected,
            RepeatDue,
            ((calling, held), None, ["send INVITE", "repeat_client"]),
            ((proceeding, cancelling, *over), None, []),
        )
        self.rows(
            expected,
            GiveUp,
            ((calling, held), terminated, ["drop_client", "timed out"]),
            ((proceeding, cancelling, *over), None, []),
        )
        self.rows(
            expected,
            CancelExpired,
            ((cancelling,), terminated, ["drop_client", "timed out"]),
            (over, None, []),
            ((calling, held, proceeding), RAISES, []),
        )
        self.rows(
            expected,
            LingerOver,
            ((completed, accepted), terminated, ["drop_client"]),
            ((terminated,), None, []),
            (open_, RAISES, []),
        )
        self.rows(
            expected,
            TransportFailed,
            (open_, terminated, ["drop_client", "transport failed"]),
            (over, None, []),
        )
        self.rows(
            expected,
            Unreachable,
            ((calling, held), terminated, ["drop_client", "transport failed"]),
            ((proceeding, cancelling, *over), None, []),
        )
        self.check(InviteClientTransaction, expected)

    def test_client_other(self) -> None:
        s = ClientOtherState
        open_, over = (s.TRYING, s.PROCEEDING), (s.COMPLETED, s.TERMINATED)
        expected: dict[Any, Any] = {}
        self.rows(expected, Provisional, (open_, s.PROCEEDING, ["response 180"]), (over, None, []))
        self.rows(
            expected, Success, (open_, s.COMPLETED, ["settle", "response 200"]), (over, None, [])
        )
        self.rows(
            expected, Failure, (open_, s.COMPLETED, ["settle", "response 486"]), (over, None, [])
        )
        self.rows(
            expected, RepeatDue, (open_, None, ["send BYE", "repeat_client"]), (over, None, [])
        )
        self.rows(
            expected,
            GiveUp,
            (open_, s.TERMINATED, ["drop_client", "timed out"]),
            (over, None, []),
        )
        self.rows(
            expected,
            TransportFailed,
            (open_, s.TERMINATED, ["drop_client", "transport failed"]),
            (over, None, []),
        )
        self.rows(
            expected,
            Unreachable,
            ((s.TRYING,), s.TERMINATED, ["drop_client", "transport failed"]),
            ((s.PROCEEDING, *over), None, []),
        )
        self.check(OtherClientTransaction, expected)

    def test_server_invite(self) -> None:
        s = ServerInviteState
        pending, completed, terminated = (s.PROCEEDING,), (s.COMPLETED,), (s.TERMINATED,)
        retired = (s.CONFIRMED, s.ACCEPTED)
        expected: dict[Any, Any] = {}
        self.rows(
            expected,
            Retransmission,
            ((*pending, *completed), None, ["send 111"]),
            ((*retired, *terminated), None, []),
        )
        self.rows(
            expected,
            Acked,
            (completed, s.CONFIRMED, ["retire confirmed"]),
            ((*pending, *retired, *terminated), None, []),
        )
        self.rows(
            expected,
            Cancelled,
            (pending, None, ["tell_cancelled"]),
            ((*completed, *retired, *terminated), None, []),
        )
        after_final = ((*completed, *retired), RAISES, [])
        self.rows(
            expected,
            AnswerProvisional,
            (pending, None, ["send 222"]),
            after_final,
            (terminated, None, []),
        )
        self.rows(
            expected,
            AnswerSuccess,
            (pending, s.ACCEPTED, ["retire accepted", "send 222"]),
            after_final,
            (terminated, None, []),
        )
        self.rows(
            expected,
            AnswerFailure,
            (pending, s.COMPLETED, ["await_ack", "repeat_server", "send 222"]),
            after_final,
            (terminated, None, []),
        )
        self.rows(
            expected,
            Refuse,
            (pending, s.TERMINATED, ["drop_server", "send 222"]),
            after_final,
            (terminated, None, []),
        )
        everywhere_else = ((*retired, *terminated), None, [])
        # Something was said already, so 200 ms of silence did not happen.
        self.rows(expected, StillSilent, ((*pending, *completed), None, []), everywhere_else)
        self.rows(
            expected,
            MinuteOver,
            (pending, None, ["send 111"]),
            (completed, None, []),
            everywhere_else,
        )
        self.rows(
            expected,
            RepeatDue,
            (completed, None, ["send 111", "repeat_server"]),
            (pending, None, []),
            everywhere_else,
        )
        self.rows(
            expected,
            GiveUp,
            (completed, s.TERMINATED, ["drop_server", "count_unacknowledged"]),
            (pending, None, []),
            everywhere_else,
        )
        self.rows(
            expected,
            TransportFailed,
            (pending, s.TERMINATED, ["drop_server", "tell_failed"]),
            (completed, None, []),
            ((s.ACCEPTED,), None, ["tell_failed"]),
            ((s.CONFIRMED, *terminated), None, []),
        )
        self.check(SERVER_INVITE, expected)

    def test_server_other(self) -> None:
        s = ServerOtherState
        open_, over = (s.TRYING, s.PROCEEDING), (s.COMPLETED, s.TERMINATED)
        expected: dict[Any, Any] = {}
        self.rows(
            expected,
            Retransmission,
            ((s.PROCEEDING,), None, ["send 111"]),
            ((s.TRYING, *over), None, []),
        )
        after_final = ((s.COMPLETED,), RAISES, [])
        dead = ((s.TERMINATED,), None, [])
        self.rows(
            expected,
            AnswerProvisional,
            (open_, s.PROCEEDING, ["send 222"]),
            after_final,
            dead,
        )
        for given in (AnswerSuccess, AnswerFailure):
            self.rows(
                expected,
                given,
                (open_, s.COMPLETED, ["retire response", "send 222"]),
                after_final,
                dead,
            )
        self.rows(
            expected,
            Refuse,
            (open_, s.TERMINATED, ["drop_server", "send 222"]),
            after_final,
            dead,
        )
        self.rows(expected, GiveUp, (open_, s.TERMINATED, ["drop_server"]), (over, None, []))
        self.rows(
            expected,
            TransportFailed,
            (open_, s.TERMINATED, ["drop_server", "tell_failed"]),
            (over, None, []),
        )
        self.check(SERVER_OTHER, expected)


class TableTests(SynchronousTestCase):
    """What holds for every table."""

    def test_every_state_is_reachable(self) -> None:
        for table in TABLES:
            self.assertEqual(table.reachable(), set(table.states), table.name)

    def test_every_open_state_has_a_way_out(self) -> None:
        for table in TABLES:
            self.assertEqual(table.dead_ends(), set(), table.name)

    def test_final_states_send_nothing_but_repeats(self) -> None:
        for table in TABLES:
            for (state, given), (goes_to, _) in table.cells.items():
                if state in table.final:
                    self.assertIs(goes_to, state, f"{table.name}: {given} leaves {state}")


class TimerTests(SynchronousTestCase):
    """RFC 3261 table 4."""

    def test_intervals(self) -> None:
        self.assertEqual([interval // T1 for interval in REPEATS], [1, 2, 4, 8, 16, 32])
        self.assertEqual(REPEATS[STEP_OF_T2], T2)
        self.assertEqual(GIVE_UP, 32_000_000_000)


class OwnMessageTests(SynchronousTestCase):
    """ACK of a failure and CANCEL, made of the INVITE."""

    def invite(self) -> InviteClientTransaction:
        routes = ((b"Route", b"<sip:p1.example;lr>"), (b"Route", b"<sip:p2.example;lr>"))
        data = request(headers=routes, cseq=17, body=b"v=0\r\n")
        flow = FakeFlow()
        keeper: Any = RecordingKeeper(flow)
        return InviteClientTransaction(
            keeper, FakeUser(), data, b"INVITE", PEER, flow, b"z9hG4bK-1"
        )

    def test_ack_of_a_failure(self) -> None:
        tx = self.invite()
        refused = parsed(response(tx, 486, to_tag=b"busy"))
        assert isinstance(refused, Response)
        tx.feed(Failure(NOW, refused))
        ack = parsed(tx.ack)
        assert isinstance(ack, Request)
        self.assertEqual((ack.method, ack.uri), (b"ACK", tx.request.uri))
        self.assertEqual(ack.all(b"Via"), tx.request.all(b"Via"))
        self.assertEqual(ack.all(b"Route"), [b"<sip:p1.example;lr>", b"<sip:p2.example;lr>"])
        self.assertEqual(ack.first(b"From"), tx.request.first(b"From"))
        self.assertEqual(ack.to_tag, b"busy")
        self.assertEqual(ack.cseq, (17, b"ACK"))
        self.assertEqual(ack.body, b"")

    def test_ack_keeps_one_via_of_several(self) -> None:
        data = request(headers=((b"Via", b"SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKother"),))
        tx = self.invite()
        tx.data = data
        tx.feed(Failure(NOW, parsed(response(tx, 486))))
        self.assertEqual(parsed(tx.ack).via_count, 1)

    def test_the_first_answer_wins_and_a_second_is_an_error(self) -> None:
        flow = FakeFlow()
        keeper: Any = RecordingKeeper(flow)
        asked = parsed(request())
        tx = ServerTransaction(
            SERVER_INVITE, keeper, asked, b"key", PEER, PEER, flow, asked.first(b"Via"), NOW
        )
        tx.respond(200, now=NOW)
        self.assertRaises(UnexpectedInput, tx.respond, 486, now=NOW)

    def test_cancel_is_told_once(self) -> None:
        flow = FakeFlow()
        keeper: Any = RecordingKeeper(flow)
        asked = parsed(request())
        tx = ServerTransaction(
            SERVER_INVITE, keeper, asked, b"key", PEER, PEER, flow, asked.first(b"Via"), NOW
        )
        first, second = parsed(request(b"CANCEL")), parsed(request(b"CANCEL"))
        tx.feed(Cancelled(NOW, first))
        tx.feed(Cancelled(NOW, second))
        self.assertEqual(keeper.log, ["tell_cancelled"])
        self.assertIs(tx.cancel, first)

    def test_silence_becomes_100_with_timestamp_and_without_to_tag(self) -> None:
        flow = FakeFlow()
        keeper: Any = RecordingKeeper(flow)
        asked = parsed(request(headers=((b"Timestamp", b"54"),)))
        tx = ServerTransaction(
            SERVER_INVITE, keeper, asked, b"key", PEER, PEER, flow, asked.first(b"Via"), NOW
        )
        tx.feed(StillSilent(NOW))
        assert tx.last is not None
        trying = parsed(tx.last)
        self.assertEqual((trying.status, trying.to_tag), (100, None))
        self.assertEqual(trying.first(b"Timestamp"), b"54")

    def test_no_timer_g_where_the_transport_is_reliable(self) -> None:
        flow = FakeFlow(reliable=True)
        keeper: Any = RecordingKeeper(flow)
        asked = parsed(request())
        tx = ServerTransaction(
            SERVER_INVITE, keeper, asked, b"key", PEER, PEER, flow, asked.first(b"Via"), NOW
        )
        tx.feed(AnswerFailure(NOW, b"SIP/2.0 486 Busy"))
        self.assertEqual(keeper.log, ["await_ack", "send 486"])
