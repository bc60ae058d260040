"""Which transaction a message belongs to, what is absorbed, refused and remembered, and timers."""

from __future__ import annotations

import errno
import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import CallOver, UnexpectedInput
from sessioncore.sip.client import InviteClientTransaction
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.message import parse_message
from sessioncore.sip.requesting import RequestWriter
from tests.data import data_file, expected
from tests.sip.fakes import PEER, Bench, request, response
from tests.sip.test_dialog import origin

ELSEWHERE = ("198.51.100.7", 6060)


class ServerInviteTests(SynchronousTestCase):
    """RFC 3261 section 17.2.1 and RFC 6026 from the wire."""

    def setUp(self) -> None:
        self.bench = Bench()

    def pending(self, **fields: Any) -> Any:
        self.bench.receive(request(**fields))
        self.bench.user.take()
        return self.bench.user.transactions[-1]

    def test_trying_after_200_ms_of_silence_only(self) -> None:
        self.pending()
        self.bench.advance(0.199)
        self.assertEqual(self.bench.flow.statuses(), [])
        self.bench.advance(0.001)
        self.assertEqual(self.bench.flow.statuses(), [100])

    def test_no_trying_when_something_was_said(self) -> None:
        self.bench.user.answers[b"INVITE"] = [180]
        self.pending()
        self.bench.advance(1)
        self.assertEqual(self.bench.flow.statuses(), [180])

    def test_no_trying_for_other_methods(self) -> None:
        # RFC 4320 section 4.1
        self.bench.receive(request(b"OPTIONS"))
        self.bench.advance(10)
        self.assertEqual(self.bench.flow.statuses(), [])

    def test_provisional_again_every_minute(self) -> None:
        self.bench.user.answers[b"INVITE"] = [180]
        tx = self.pending()
        self.bench.advance(181)
        self.assertEqual(self.bench.flow.statuses(), [180] * 4)
        tx.respond(200, now=self.bench.now)
        self.bench.advance(181)
        self.assertEqual(self.bench.flow.statuses(), [200])

    def test_retransmission_gets_the_last_provisional(self) -> None:
        self.bench.user.answers[b"INVITE"] = [180]
        self.pending()
        self.bench.receive(request())
        self.assertEqual(self.bench.flow.statuses(), [180, 180])
        self.assertEqual(self.bench.user.log, [])
        self.assertEqual(self.bench.layer.counters.retransmissions_absorbed, 1)

    def test_retransmission_in_silence_gets_nothing(self) -> None:
        self.pending()
        self.bench.receive(request())
        self.assertEqual(self.bench.flow.sent, [])

    def test_accepted_absorbs_invites_and_passes_acks_on(self) -> None:
        tx = self.pending()
        tx.respond(200, to_tag=b"me", now=self.bench.now)
        self.bench.flow.take()
        self.bench.receive(request())
        self.assertEqual(self.bench.flow.sent, [])
        # Some clients use the INVITE's branch for the ACK of a 2xx, too.
        for branch in (b"z9hG4bK-1", b"z9hG4bK-2"):
            self.bench.receive(request(b"ACK", branch=branch, to_tag=b"me"))
            self.assertEqual(self.bench.user.take(), [("ack", 1)])

    def test_2xx_is_repeated_by_the_user_alone(self) -> None:
        tx = self.pending()
        data = tx.respond(200, to_tag=b"me", now=self.bench.now)
        self.bench.advance(10)
        self.assertEqual(self.bench.flow.statuses(), [200])
        tx.resend(self.bench.now)
        self.assertEqual(self.bench.flow.sent, [(data, PEER)])

    def test_accepted_leaves_one_entry_and_no_object(self) -> None:
        tx = self.pending()
        tx.respond(200, now=self.bench.now)
        layer = self.bench.layer
        self.assertEqual((layer.pending_servers, layer.remembered), (0, 1))
        self.bench.advance(31.9)
        self.assertEqual(layer.remembered, 1)
        self.bench.advance(0.2)
        self.assertEqual(layer.remembered, 0)

    def test_failure_is_repeated_until_acknowledged(self) -> None:
        tx = self.pending()
        tx.respond(486, now=self.bench.now)
        self.bench.advance(8)
        # Timer G: 0.5, 1.5, 3.5, 7.5 s
        self.assertEqual(self.bench.flow.statuses(), [486] * 5)
        self.bench.receive(request(b"ACK", to_tag=tx.to_tag))
        self.bench.advance(20)
        self.assertEqual(self.bench.flow.statuses(), [])
        self.assertEqual(self.bench.user.log, [])
        self.assertEqual(self.bench.layer.pending_servers, 0)

    def test_failure_that_nobody_acknowledges_ends_after_32_s(self) -> None:
        tx = self.pending()
        tx.respond(486, now=self.bench.now)
        self.bench.advance(31.9)
        self.assertEqual(self.bench.flow.statuses(), [486] * 11)
        self.assertEqual(self.bench.layer.pending_servers, 1)
        self.bench.advance(60)
        self.assertEqual(self.bench.flow.statuses(), [])
        self.assertEqual(self.bench.layer.counters.unacknowledged, 1)
        self.assertEqual(self.bench.layer.pending_servers, 0)

    def test_invite_again_after_failure_gets_the_failure(self) -> None:
        tx = self.pending()
        tx.respond(486, now=self.bench.now)
        self.bench.receive(request())
        self.assertEqual(self.bench.flow.statuses(), [486, 486])

    def test_confirmed_absorbs_for_5_s(self) -> None:
        tx = self.pending()
        tx.respond(486, now=self.bench.now)
        self.bench.receive(request(b"ACK", to_tag=tx.to_tag))
        self.bench.flow.take()
        counters = self.bench.layer.counters
        for absorbed, again in enumerate((request(b"ACK", to_tag=tx.to_tag), request()), 1):
            self.bench.receive(again)
            self.assertEqual(counters.retransmissions_absorbed, absorbed)
        self.assertEqual((self.bench.flow.sent, self.bench.user.log), ([], []))
        self.bench.advance(4.99)
        self.assertEqual(self.bench.layer.remembered, 1)
        self.bench.advance(0.04)
        self.assertEqual(self.bench.layer.remembered, 0)

    def test_repeated_acks_of_a_failure_are_counted_and_not_told(self) -> None:
        self.bench.receive(request())
        self.bench.user.transactions[0].respond(486, to_tag=b"mine", now=self.bench.now)
        self.bench.user.take()
        for number in range(3):
            self.bench.receive(request(b"ACK", to_tag=b"mine"))
            self.assertEqual(self.bench.layer.counters.retransmissions_absorbed, number)
        self.assertEqual(self.bench.user.take(), [])

    def test_no_timer_g_over_a_reliable_transport(self) -> None:
        self.bench = Bench(reliable=True)
        tx = self.pending()
        tx.respond(486, now=self.bench.now)
        self.bench.advance(10)
        self.assertEqual(self.bench.flow.statuses(), [486])
        self.bench.receive(request(b"ACK", to_tag=tx.to_tag))
        self.assertEqual(self.bench.layer.remembered, 0)

    def test_second_final_answer_is_an_error(self) -> None:
        tx = self.pending()
        tx.respond(200, now=self.bench.now)
        self.assertRaises(UnexpectedInput, tx.respond, 200, now=self.bench.now)

    def test_all_responses_have_the_same_to_tag(self) -> None:
        tx = self.pending()
        tx.respond(180, to_tag=b"mine", now=self.bench.now)
        tx.respond(183, now=self.bench.now)
        tx.respond(486, now=self.bench.now)
        self.assertEqual([m.to_tag for m in self.bench.flow.take()], [b"mine"] * 3)

    def test_server_header(self) -> None:
        self.bench = Bench(server_header=b"unit/1")
        self.pending().respond(180, now=self.bench.now)
        self.assertEqual(self.bench.flow.take()[0].first(b"Server"), b"unit/1")
        self.bench.layer.server_header = None
        self.bench.user.transactions[-1].respond(180, now=self.bench.now)
        self.assertIsNone(self.bench.flow.take()[0].first(b"Server"))

    def test_transport_failure_is_told_and_ends_it(self) -> None:
        tx = self.pending()
        self.bench.flow.error = OSError(errno.ENETUNREACH, "no route")
        tx.respond(180, now=self.bench.now)
        self.assertEqual(self.bench.user.take(), [("transport failed",)])
        self.assertEqual(self.bench.layer.counters.send_failures, 1)
        tx.respond(200, now=self.bench.now)  # the user may not have stopped yet
        self.assertEqual(self.bench.layer.pending_servers, 0)

    def test_transport_failure_of_a_2xx_is_told(self) -> None:
        tx = self.pending()
        self.bench.flow.error = OSError(errno.ENETUNREACH, "no route")
        tx.respond(200, now=self.bench.now)
        self.assertEqual(self.bench.user.take(), [("transport failed",)])


class ServerOtherTests(SynchronousTestCase):
    """RFC 3261 section 17.2.2 from the wire."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_finished_answers_retransmissions_for_32_s(self) -> None:
        self.bench.user.answers[b"BYE"] = [200]
        for _ in range(3):
            self.bench.receive(request(b"BYE", to_tag=b"x"))
        self.assertEqual(self.bench.flow.statuses(), [200] * 3)
        self.assertEqual(self.bench.user.take(), [("request", b"BYE")])
        self.assertEqual(self.bench.layer.remembered, 1)
        self.bench.advance(32.1)
        self.assertEqual(self.bench.layer.remembered, 0)

    def test_long_answers_are_not_kept(self) -> None:
        """Or 250,000 of them would take 15 GB."""
        self.bench.user.answers[b"OPTIONS"] = [200]
        for size, asked in ((1000, 1), (15_000, 2)):
            via = (b"Via", b"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK" + size * b"x")
            data = request(b"OPTIONS", branch=b"z9hG4bK%d" % size, cseq=size, headers=(via,))
            for _ in range(2):
                self.bench.receive(data)
            self.assertEqual(self.bench.flow.statuses(), [200] * 2)
            self.assertEqual(len(self.bench.user.take()), asked)
        layer = self.bench.layer
        self.assertEqual((layer.remembered, layer.pending_servers, len(layer._merged)), (1, 0, 0))

    def test_what_is_remembered_is_nothing_the_collector_tracks(self) -> None:
        import gc

        self.bench.user.answers[b"BYE"] = [200]
        self.bench.receive(request(b"BYE", to_tag=b"x"))
        gc.collect()
        for key, answer in self.bench.layer._finished.items():
            self.assertEqual((type(key), type(answer)), (bytes, bytes))
        for fifo in self.bench.layer._fifos:
            for when, keys in fifo._times:
                self.assertFalse(any(map(gc.is_tracked, (when, *keys))))

    def test_no_memory_over_a_reliable_transport(self) -> None:
        self.bench = Bench(reliable=True)
        self.bench.user.answers[b"BYE"] = [200]
        self.bench.receive(request(b"BYE", to_tag=b"x"))
        self.assertEqual(self.bench.layer.remembered, 0)

    def test_retransmission_before_an_answer_is_absorbed(self) -> None:
        self.bench.receive(request(b"MESSAGE"))
        self.bench.receive(request(b"MESSAGE"))
        self.assertEqual(self.bench.flow.sent, [])
        self.assertEqual(self.bench.user.take(), [("request", b"MESSAGE")])

    def test_provisional_is_repeated_on_retransmission(self) -> None:
        self.bench.user.answers[b"MESSAGE"] = [182]
        self.bench.receive(request(b"MESSAGE"))
        self.bench.receive(request(b"MESSAGE"))
        self.assertEqual(self.bench.flow.statuses(), [182, 182])

    def test_late_failure_is_remembered(self) -> None:
        self.bench.receive(request(b"MESSAGE"))
        self.bench.user.transactions[0].respond(403, now=self.bench.now)
        self.bench.receive(request(b"MESSAGE"))
        self.assertEqual(self.bench.flow.statuses(), [403, 403])

    def test_request_nobody_answers_is_forgotten(self) -> None:
        self.bench.receive(request(b"MESSAGE"))
        self.bench.advance(31)
        self.assertEqual(self.bench.layer.pending_servers, 1)
        self.bench.advance(1.1)
        self.assertEqual(self.bench.layer.pending_servers, 0)
        self.bench.user.transactions[0].respond(200, now=self.bench.now)
        self.assertEqual(self.bench.flow.sent, [])  # RFC 4320 section 4.2

    def test_a_user_that_raises_answers_500(self) -> None:
        def fails(tx: Any, now: int) -> None:
            raise ZeroDivisionError

        self.bench.user.request_received = fails  # type: ignore[method-assign]
        self.assertRaises(ZeroDivisionError, self.bench.receive, request(b"OPTIONS"))
        self.assertEqual(self.bench.flow.statuses(), [500])
        self.assertEqual(self.bench.layer.pending_servers, 0)


class MatchingTests(SynchronousTestCase):
    """RFC 3261 section 17.2.3."""

    def setUp(self) -> None:
        self.bench = Bench()

    def new(self, data: bytes) -> bool:
        """Whether a datagram is a request the user has not seen."""
        self.bench.receive(data)
        return bool(self.bench.user.take())

    def test_what_makes_another_transaction(self) -> None:
        self.assertTrue(self.new(request(b"INFO", to_tag=b"x")))
        self.assertFalse(self.new(request(b"INFO", to_tag=b"x")))
        for fields in (
            {"branch": b"z9hG4bK-2"},
            {"sent_by": b"192.0.2.1:5070"},
            {"sent_by": b"192.0.2.2:5060"},
            {"cseq": 2},
            {"call_id": b"call-2"},
        ):
            self.assertTrue(self.new(request(b"INFO", to_tag=b"x", **fields)), fields)
        self.assertTrue(self.new(request(b"BYE", to_tag=b"x")))

    def test_sent_by_is_compared_without_case(self) -> None:
        self.assertTrue(self.new(request(b"INFO", sent_by=b"Host.Example:5060")))
        self.assertFalse(self.new(request(b"INFO", sent_by=b"hOST.eXAMPLE:5060")))

    def test_the_cookie_is_compared_without_case(self) -> None:
        """With it the branch decides, and the Request-URI does not matter."""
        for cookie, others in ((b"z9hG4bK", 0), (b"Z9HG4BK", 0), (b"z9hG4bX", 1)):
            self.bench = Bench()
            for uri in (b"sip:bob@192.0.2.9", b"sip:carol@192.0.2.9"):
                self.bench.receive(request(b"INFO", branch=cookie + b"1", uri=uri))
            self.assertEqual(len(self.bench.user.transactions), 1 + others, cookie)

    def test_rfc_2543_request(self) -> None:
        for branch in (None, b"1", b"z9hG4b"):
            self.bench = Bench()

            def new(branch: Any = branch, to_tag: bytes = b"x", **fields: Any) -> bool:
                return self.new(request(b"INFO", branch=branch, to_tag=to_tag, **fields))

            self.assertTrue(new())
            self.assertFalse(new())
            self.assertTrue(new(cseq=2))
            self.assertTrue(new(uri=b"sip:c@192.0.2.9"))
            self.assertTrue(new(to_tag=b"y"))
            self.assertTrue(new(from_tag=b"f2"))
            self.assertTrue(new(via_params=b";x=y"))

    def test_rfc_2543_ack_of_a_failure(self) -> None:
        for to_tag in (None, b"theirs"):
            self.bench = Bench()
            self.bench.receive(request(branch=None, to_tag=to_tag))
            tx = self.bench.user.transactions[0]
            data = tx.respond(486, now=self.bench.now)
            tag = to_tag or parse_message(data).to_tag
            self.bench.receive(request(b"ACK", branch=None, to_tag=tag))
            self.assertEqual(self.bench.layer.pending_servers, 0)
            self.assertEqual(self.bench.user.take(), [("request", b"INVITE")])

    def test_rfc_2543_cancel(self) -> None:
        self.bench.receive(request(branch=None))
        self.bench.receive(request(b"CANCEL", branch=None))
        self.assertEqual(self.bench.user.take()[1:], [("cancel", b"call-1")])

    def test_merged_request(self) -> None:
        self.bench.user.answers[b"INVITE"] = [180]
        self.bench.receive(request())
        self.bench.receive(request(branch=b"z9hG4bK-other-way"))
        self.assertEqual(self.bench.flow.statuses(), [180, 482])
        self.assertEqual(self.bench.user.take(), [("request", b"INVITE")])
        self.assertEqual(self.bench.layer.counters.merged, 1)

    def test_merged_request_after_the_answer(self) -> None:
        self.bench.user.answers[b"INVITE"] = [200]
        self.bench.receive(request())
        self.bench.advance(31)
        self.bench.receive(request(branch=b"z9hG4bK-other-way"))
        self.assertEqual(self.bench.flow.statuses(), [200, 482])

    def test_merged_request_after_minutes_of_ringing(self) -> None:
        self.bench.user.answers[b"INVITE"] = [180]
        self.bench.receive(request())
        self.bench.advance(170)
        self.bench.flow.take()
        self.bench.receive(request(branch=b"z9hG4bK-other-way"))
        self.assertEqual(self.bench.flow.statuses(), [482])

    def test_no_merging_within_a_dialog_nor_with_another_cseq(self) -> None:
        self.assertTrue(self.new(request()))
        self.assertTrue(self.new(request(branch=b"z9hG4bK-2", cseq=2)))
        self.assertTrue(self.new(request(branch=b"z9hG4bK-3", to_tag=b"x")))
        self.assertTrue(self.new(request(branch=b"z9hG4bK-4", to_tag=b"x")))

    def test_serial_forking_after_an_acknowledged_487_is_a_new_call(self) -> None:
        self.bench.receive(request())
        tx = self.bench.user.transactions[0]
        self.bench.receive(request(b"CANCEL"))
        tx.respond(487, now=self.bench.now)
        for acknowledged in (False, True):
            with self.subTest(acknowledged=acknowledged):
                if acknowledged:
                    self.bench.receive(request(b"ACK", to_tag=tx.to_tag))
                self.bench.user.take()
                branch = b"z9hG4bK-next-%d" % acknowledged
                self.assertTrue(self.new(request(branch=branch)))
                self.bench.user.transactions[-1].respond(486, now=self.bench.now)
        self.bench.advance(70)
        layer = self.bench.layer
        self.assertEqual((len(layer._merged), layer.pending_servers, layer.remembered), (0, 0, 0))

    def test_pings_that_repeat_call_id_and_cseq_are_not_merged(self) -> None:
        for method in (b"OPTIONS", b"REGISTER", b"NOTIFY"):
            for number in range(3):
                self.assertTrue(self.new(request(method, branch=b"z9hG4bK-%d" % number)))
        self.assertEqual(self.bench.layer.counters.merged, 0)

    def test_another_cseq_of_a_pending_call_disturbs_neither(self) -> None:
        self.assertTrue(self.new(request()))
        self.assertTrue(self.new(request(branch=b"z9hG4bK-2", cseq=2)))
        self.bench.receive(request(branch=b"z9hG4bK-other-way"))
        self.assertEqual(self.bench.layer.counters.merged, 1)
        for tx in self.bench.user.transactions:
            tx.respond(200, now=self.bench.now)
        self.bench.advance(70)
        layer = self.bench.layer
        self.assertEqual((len(layer._merged), layer.pending_servers, layer.remembered), (0, 0, 0))

    def test_merging_is_forgotten_with_the_transaction(self) -> None:
        self.bench.user.answers[b"INVITE"] = [200]
        self.bench.receive(request())
        self.bench.advance(33)
        self.assertTrue(self.new(request(branch=b"z9hG4bK-2")))
        self.bench.advance(70)
        self.assertEqual(len(self.bench.layer._merged), 0)

    def test_merging_ends_with_the_transaction_not_with_its_timer(self) -> None:
        self.bench.receive(request())
        tx = self.bench.user.transactions[0]
        tx.respond(486, now=self.bench.now)
        self.bench.receive(request(b"ACK", to_tag=tx.to_tag))
        self.bench.advance(5.1)
        self.bench.user.take()
        self.assertTrue(self.new(request(branch=b"z9hG4bK-2")))

    def test_refused_request_is_not_merged_with(self) -> None:
        self.bench.user.answers[b"INVITE"] = [486]
        self.bench.receive(request())
        self.bench.receive(request(branch=b"z9hG4bK-2"))
        self.assertEqual(self.bench.flow.statuses(), [486, 486])


class RefusalTests(SynchronousTestCase):
    """What is answered once and forgotten (RFC 3261 section 8.2.7)."""

    def setUp(self) -> None:
        self.bench = Bench()

    def state(self) -> tuple[int, int, int]:
        layer = self.bench.layer
        return (layer.pending_servers, layer.remembered, len(layer._merged))

    def test_refusal_in_the_turn_leaves_nothing(self) -> None:
        for method in (b"INVITE", b"OPTIONS"):
            self.bench.user.answers[method] = [404]
            self.bench.receive(request(method))
            self.assertEqual(self.bench.flow.statuses(), [404])
            self.assertEqual(self.state(), (0, 0, 0))
            self.bench.advance(40)
            self.assertEqual(self.bench.flow.sent, [])

    def test_copies_get_the_same_to_tag_and_others_another(self) -> None:
        self.bench.user.answers[b"INVITE"] = [404]
        for branch in (b"z9hG4bK-1", b"z9hG4bK-1", b"z9hG4bK-2"):
            self.bench.receive(request(branch=branch))
        one, again, other = (message.to_tag for message in self.bench.flow.take())
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)

    def test_the_tag_depends_on_the_secret(self) -> None:
        tags = set()
        for secret in (b"a", b"b", b"long" * 100):
            bench = Bench()
            bench.layer = type(bench.layer)(bench.user, bench.deadlines, lambda: b"", secret)
            bench.user.answers[b"INVITE"] = [404]
            bench.receive(request())
            tags.add(bench.flow.take()[0].to_tag)
        self.assertEqual(len(tags), 3)

    def test_ack_of_a_refusal_is_swallowed(self) -> None:
        self.bench.user.answers[b"INVITE"] = [404]
        self.bench.receive(request())
        self.bench.user.take()
        tag = self.bench.flow.take()[0].to_tag
        self.bench.receive(request(b"ACK", to_tag=tag))
        self.assertEqual(self.bench.user.take(), [])
        self.assertEqual(self.bench.layer.counters.acks_swallowed, 1)

    def test_ack_that_only_looks_like_one_is_passed_on(self) -> None:
        self.bench.receive(request(b"ACK", to_tag=b"sl-0123456789abcdef"))
        self.assertEqual(self.bench.user.take(), [("ack", 1)])

    def test_ack_is_never_answered(self) -> None:
        self.bench.receive(request(b"ACK", to_tag=b"x"))
        self.bench.receive(request(b"ACK"))
        self.bench.receive(request(b"ACK").replace(b"CSeq: 1 ACK", b"CSeq: 1 INVITE"))
        self.bench.receive(request(b"ACK").replace(b"Content-Length: 0", b"Content-Length: 9"))
        self.bench.receive(request(b"ACK").replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"))
        self.assertEqual(self.bench.flow.sent, [])

    def test_stateful_on_request(self) -> None:
        self.bench.user.request_received = (  # type: ignore[method-assign]
            lambda tx, now: tx.respond(491, now=now, stateful=True)
        )
        self.bench.receive(request(to_tag=b"x"))
        self.bench.receive(request(to_tag=b"x"))
        self.assertEqual(self.bench.flow.statuses(), [491, 491])
        self.assertEqual(self.bench.layer.pending_servers, 1)

    def test_success_without_state_on_request(self) -> None:
        """Each copy gets the same answer, the To tag included, and nothing is kept."""
        self.bench.user.request_received = (  # type: ignore[method-assign]
            lambda tx, now: tx.respond(200, now=now, stateful=False)
        )
        for _ in range(2):
            self.bench.receive(request(b"OPTIONS"))
        first, again = self.bench.flow.sent
        self.assertEqual(first, again)
        layer = self.bench.layer
        self.assertEqual((layer.remembered, layer.pending_servers, len(layer._merged)), (0, 0, 0))

    def test_success_after_the_turn_keeps_state(self) -> None:
        self.bench.receive(request(b"OPTIONS"))
        self.bench.user.transactions[0].respond(200, now=self.bench.now, stateful=False)
        self.assertEqual(self.bench.layer.remembered, 1)

    def test_refusal_after_a_provisional_keeps_state(self) -> None:
        self.bench.user.answers[b"INVITE"] = [180, 486]
        self.bench.receive(request())
        self.assertEqual(self.bench.layer.pending_servers, 1)

    def test_refusal_after_the_turn_keeps_state(self) -> None:
        self.bench.receive(request())
        self.bench.user.transactions[0].respond(486, now=self.bench.now)
        self.assertEqual(self.bench.layer.pending_servers, 1)

    def refused(self, **fields: Any) -> bytes:
        self.bench.user.request_received = (  # type: ignore[method-assign]
            lambda tx, now: tx.respond(488, now=now, **fields)
        )
        self.bench.receive(request())
        return self.bench.flow.sent[-1][0]

    def test_a_refusal_is_no_amplifier(self) -> None:
        limit = len(request()) * 3 // 2 + 200
        needed = (b"Warning", b"399 x " + b"y" * 100)
        kept = self.refused(headers=[needed], body=b"z" * 1000)
        self.assertLessEqual(len(kept), limit)
        self.assertEqual(parse_message(kept).first(b"Warning"), needed[1])
        self.assertEqual(parse_message(kept).body, b"")

    def test_a_refusal_is_no_amplifier_by_its_headers(self) -> None:
        limit = len(request()) * 3 // 2 + 200
        self.assertLessEqual(len(self.refused(headers=[(b"Warning", b"w" * 900)])), limit)

    def test_a_refusal_may_be_half_as_long_again_and_200_bytes_and_no_longer(self) -> None:
        limit = len(request()) * 3 // 2 + 200
        room = limit - len(self.refused(body=b"z" * 100)) + 100
        self.assertEqual(len(self.refused(body=b"z" * room)), limit)
        self.assertEqual(parse_message(self.refused(body=b"z" * (room + 1))).body, b"")

    def test_small_refusals_keep_their_body(self) -> None:
        self.assertEqual(parse_message(self.refused(body=b"why")).body, b"why")

    def test_malformed_requests_get_400_without_state(self) -> None:
        for broken in (
            request().replace(b"Call-ID: call-1\r\n", b""),
            request().replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
            request().replace(b"CSeq: 1 INVITE", b"CSeq: x INVITE"),
            request().replace(b"Content-Length: 0", b"Content-Length: 99"),
            request().replace(b";branch", b";;;branch"),
            request().replace(b"Contact: <sip:", b"Contact: <sip"),
            request().replace(b"<sip:alice@192.0.2.1>;tag", b'"sip:alice@192.0.2.1;tag'),
        ):
            self.bench.receive(broken)
            self.assertEqual(self.bench.flow.statuses(), [400], broken)
        self.assertEqual(self.bench.layer.counters.malformed, 7)
        self.assertEqual((self.state(), self.bench.user.log), ((0, 0, 0), []))

    def test_other_version_gets_505(self) -> None:
        self.bench.receive(request().replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"))
        self.assertEqual(self.bench.flow.statuses(), [505])

    def test_what_cannot_be_answered_is_counted(self) -> None:
        without_via = request().partition(b"Via")
        rest = without_via[2].partition(b"\r\n")[2]
        for junk in (b"junk", b"\x00\x01" * 700, b"INVITE sip:x\r\n\r\n", without_via[0] + rest):
            self.bench.receive(junk)
        self.assertEqual(self.bench.flow.sent, [])
        self.assertEqual(self.bench.layer.counters.malformed, 4)

    def test_keepalives_are_no_faults(self) -> None:
        for data in (b"\r\n\r\n", b"\r\n", b"\x00", b"\x00\x00\x00\x00", b""):
            self.bench.receive(data)
        self.assertEqual(self.bench.layer.counters.malformed, 0)
        self.assertEqual(self.bench.layer.counters.keepalives, 5)

    def test_strangers_cannot_fill_the_memory_with_pending_requests(self) -> None:
        self.bench = Bench(max_pending=3)
        for number in range(10):
            self.bench.receive(request(branch=b"z9hG4bK%d" % number, call_id=b"%d" % number))
        self.assertEqual(self.bench.flow.statuses(), [503] * 7)
        self.assertEqual(self.bench.layer.counters.too_many, 7)
        self.assertEqual(self.state(), (3, 0, 3))
        # What belongs to a dialog still gets through, up to twice as many.
        for number in range(10):
            self.bench.receive(request(b"BYE", branch=b"z9hG4bKx%d" % number, to_tag=b"x"))
        self.assertEqual(self.bench.layer.pending_servers, 6)

    def refuse_later(self, number: int) -> None:
        """An INVITE that the user refuses in a later turn, and nobody acknowledges."""
        self.bench.receive(request(branch=b"z9hG4bK%d" % number, call_id=b"%d" % number))
        self.bench.user.transactions[-1].respond(486, now=self.bench.now)

    def test_refusals_without_ack_give_way_to_newer_ones(self) -> None:
        self.bench = Bench(max_pending=3)
        for number in range(10):
            self.refuse_later(number)
        self.assertEqual(self.bench.flow.statuses(), [486] * 10)
        self.assertEqual(self.state(), (3, 0, 0))
        counters = self.bench.layer.counters
        self.assertEqual((counters.too_many, counters.unacknowledged), (0, 7))
        # The newest are kept, and repeated until their ACKs.
        self.bench.advance(0.51)
        self.assertEqual([each.call_id for each in self.bench.flow.take()], [b"7", b"8", b"9"])
        self.bench.advance(40)
        self.assertEqual(self.state(), (0, 0, 0))
        self.assertEqual(counters.unacknowledged, 10)

    def test_what_was_acknowledged_is_skipped_and_what_rings_is_kept(self) -> None:
        self.bench = Bench(max_pending=3)
        for number in range(2):
            self.refuse_later(number)
        ack = {"branch": b"z9hG4bK0", "call_id": b"0", "to_tag": b"x"}
        self.bench.receive(request(b"ACK", **ack))  # type: ignore[arg-type]
        for number in (5, 6, 7):
            self.bench.receive(request(branch=b"z9hG4bK%d" % number, call_id=b"%d" % number))
        self.assertEqual(self.bench.flow.statuses(), [486] * 2)
        self.assertEqual(self.state(), (3, 1, 3))
        self.bench.receive(request(branch=b"z9hG4bK8", call_id=b"8"))
        self.assertEqual(self.bench.flow.statuses(), [503])
        self.assertEqual(self.bench.layer.counters.too_many, 1)

    def test_few_stale_entries_are_looked_at_per_request(self) -> None:
        self.bench = Bench(max_pending=1)
        for number in range(250):
            branch = b"z9hG4bK%d" % number
            self.bench.receive(request(branch=branch, call_id=b"c"))
            self.bench.user.transactions[-1].respond(486, now=self.bench.now)
            if number < 249:
                self.bench.receive(request(b"ACK", branch=branch, call_id=b"c", to_tag=b"x"))
        self.bench.flow.take()
        for _ in range(4):
            self.bench.receive(request(branch=b"z9hG4bK-next", call_id=b"d"))
        # The first two find acknowledged ones only; the fourth is a copy of the third.
        self.assertEqual(self.bench.flow.statuses(), [503, 503])
        self.assertEqual(self.bench.layer.pending_servers, 1)

    def test_the_oldest_finished_transactions_give_way(self) -> None:
        self.bench = Bench(max_finished=3)
        self.bench.user.answers[b"OPTIONS"] = [200]
        for number in range(10):
            self.bench.receive(request(b"OPTIONS", call_id=b"%d" % number))
        self.assertEqual(self.bench.flow.statuses(), [200] * 10)
        self.assertEqual(self.state(), (0, 3, 0))
        self.assertEqual(self.bench.layer.counters.forgotten_early, 7)
        self.bench.user.take()
        for number in (7, 8, 9):
            self.bench.receive(request(b"OPTIONS", call_id=b"%d" % number))
        self.assertEqual(self.bench.user.take(), [])
        self.bench.receive(request(b"OPTIONS", call_id=b"6"))
        self.assertEqual(self.bench.user.take(), [("request", b"OPTIONS")])
        self.bench.advance(33)
        self.assertEqual(self.state(), (0, 0, 0))

    def test_acknowledged_refusals_give_way_if_there_is_nothing_else(self) -> None:
        self.bench = Bench(max_finished=2)
        for number in range(4):
            self.refuse_later(number)
            branch = b"z9hG4bK%d" % number
            self.bench.receive(request(b"ACK", branch=branch, call_id=b"%d" % number))
        self.assertEqual(self.state(), (0, 2, 0))
        self.bench.advance(6)
        self.assertEqual(self.state(), (0, 0, 0))

    def test_an_accepted_invite_gives_way_with_its_merge_key(self) -> None:
        self.bench = Bench(max_finished=2)
        self.bench.user.answers[b"INVITE"] = [200]
        for number in range(4):
            self.bench.receive(request(branch=b"z9hG4bK%d" % number, call_id=b"%d" % number))
        self.assertEqual(self.state(), (0, 2, 2))


class CancelTests(SynchronousTestCase):
    """RFC 3261 section 9.2."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_cancel_of_a_pending_invite(self) -> None:
        self.bench.receive(request())
        tx = self.bench.user.transactions[0]
        tx.respond(180, to_tag=b"mine", now=self.bench.now)
        self.bench.flow.take()
        self.bench.receive(request(b"CANCEL"))
        (ok,) = self.bench.flow.take()
        self.assertEqual((ok.status, ok.cseq.method), (200, b"CANCEL"))
        self.assertEqual(ok.to_tag, b"mine")
        self.assertEqual(self.bench.user.take()[1:], [("cancel", b"call-1")])
        self.assertEqual(tx.cancel.method, b"CANCEL")
        tx.respond(487, now=self.bench.now)
        self.assertEqual(self.bench.flow.statuses(), [487])

    def test_a_cancel_with_another_cseq_number_is_found(self) -> None:
        self.bench.receive(request())
        self.bench.receive(request(b"CANCEL", cseq=2))
        self.assertEqual(self.bench.flow.statuses(), [200])
        self.assertEqual(self.bench.user.take()[1:], [("cancel", b"call-1")])
        for other in ({"branch": b"z9hG4bK-2"}, {"sent_by": b"192.0.2.1:5062"}, {"branch": None}):
            self.bench.receive(request(b"CANCEL", cseq=2, **other))  # type: ignore[arg-type]
            self.assertEqual(self.bench.flow.statuses(), [481], other)

    def test_a_late_cancel_with_another_cseq_number_is_found(self) -> None:
        self.bench.user.answers[b"INVITE"] = [200]
        self.bench.receive(request())
        self.bench.receive(request(b"CANCEL", cseq=2))
        self.assertEqual(self.bench.flow.statuses(), [200, 200])

    def test_copies_of_a_cancel_are_answered_and_told_once(self) -> None:
        self.bench.receive(request())
        for _ in range(3):
            self.bench.receive(request(b"CANCEL"))
        self.bench.user.transactions[0].respond(487, now=self.bench.now)
        self.bench.receive(request(b"CANCEL"))
        self.assertEqual(self.bench.flow.statuses(), [200, 200, 200, 487, 200])
        self.assertEqual(self.bench.user.take()[1:], [("cancel", b"call-1")])

    def test_cancel_after_the_2xx_changes_nothing(self) -> None:
        self.bench.user.answers[b"INVITE"] = [200]
        self.bench.receive(request())
        self.bench.receive(request(b"CANCEL"))
        self.assertEqual(self.bench.flow.statuses(), [200, 200])
        self.assertEqual(
            self.bench.user.take(), [("request", b"INVITE"), ("late cancel", b"call-1")]
        )

    def late(self, **fields: Any) -> list[bytes]:
        """To tags of the answers to three copies of a CANCEL that the 2xx has crossed."""
        self.bench.receive(request())
        self.bench.user.transactions[0].respond(200, to_tag=b"mine", now=self.bench.now)
        self.bench.flow.take()
        self.bench.user.take()
        for _ in range(3):
            self.bench.receive(request(b"CANCEL", **fields))
            self.bench.advance(0.5)
        return [answer.to_tag for answer in self.bench.flow.take()]

    def test_the_tag_of_an_accepted_invite_is_asked_for_once(self) -> None:
        """The user has to look for it, and strangers can send copies."""
        self.bench.user.tag = b"mine"
        self.assertEqual(self.late(), [b"mine"] * 3)
        self.assertEqual(self.bench.user.take(), [("late cancel", b"call-1")])
        self.assertEqual(self.bench.layer.remembered, 2)
        self.bench.advance(33)
        self.assertEqual(self.bench.layer.remembered, 0)

    def test_the_tag_takes_the_room_of_the_oldest(self) -> None:
        self.bench = Bench(max_finished=1)
        self.bench.user.tag = b"mine"
        self.late()
        self.assertEqual(self.bench.layer.remembered, 1)
        self.assertEqual(self.bench.layer.counters.forgotten_early, 1)

    def test_cancels_of_many_numbers_leave_one_entry(self) -> None:
        self.bench.user.tag = b"mine"
        self.late()
        for number in range(2, 12):
            self.bench.receive(request(b"CANCEL", cseq=number))
        self.assertEqual({answer.to_tag for answer in self.bench.flow.take()}, {b"mine"})
        self.assertEqual(self.bench.user.take(), [("late cancel", b"call-1")])
        self.assertEqual(self.bench.layer.remembered, 2)

    def test_the_tag_of_an_accepted_invite_is_not_known_any_more(self) -> None:
        (tag,) = set(self.late())
        self.assertTrue(tag.startswith(b"sl-"))
        self.bench.user.tag = b"found"
        self.bench.receive(request(b"CANCEL"))
        self.assertEqual(self.bench.flow.take()[0].to_tag, tag)

    def test_a_refused_invite_has_no_dialog_to_look_for(self) -> None:
        self.bench.receive(request())
        self.bench.user.transactions[0].respond(486, to_tag=b"mine", now=self.bench.now)
        self.bench.receive(request(b"ACK", to_tag=b"mine"))
        self.bench.user.take()
        self.bench.receive(request(b"CANCEL"))
        self.assertEqual(self.bench.flow.statuses()[-1], 200)
        self.assertEqual(self.bench.user.take(), [])
        self.assertEqual(self.bench.layer.remembered, 1)

    def test_a_late_cancel_absorbs_nothing_but_itself(self) -> None:
        self.bench.user.tag = b"mine"
        self.late()
        self.bench.receive(request())
        self.bench.receive(request(b"ACK", to_tag=b"mine"))
        self.assertEqual(self.bench.flow.take(), [])
        self.assertEqual(self.bench.user.take()[-1], ("ack", 1))

    def test_cancel_of_nothing_gets_481(self) -> None:
        self.bench.receive(request(b"CANCEL"))
        self.bench.receive(request(b"OPTIONS", branch=b"z9hG4bK-2"))
        self.bench.receive(request(b"CANCEL", branch=b"z9hG4bK-2"))
        self.assertEqual(self.bench.flow.statuses(), [481, 481])
        self.assertEqual(self.bench.layer.counters.unmatched_cancels, 2)
        self.assertEqual(self.bench.user.take(), [("request", b"OPTIONS")])


class RoutingTests(SynchronousTestCase):
    """Where responses go (RFC 3261 section 18.2, RFC 3581)."""

    def route(self, source: Any, **fields: Any) -> tuple[Any, Any]:
        bench = Bench()
        bench.user.answers[b"OPTIONS"] = [200]
        bench.receive(request(b"OPTIONS", **fields), source)
        bench.receive(request(b"OPTIONS", **fields), source)
        first, again = bench.flow.take()
        self.assertEqual((first.raw, first.address), (again.raw, again.address))
        return first.address, first.via

    def test_sent_by_port_without_rport(self) -> None:
        address, via = self.route(("192.0.2.1", 40000), sent_by=b"192.0.2.1:5070")
        self.assertEqual(address, ("192.0.2.1", 5070))
        self.assertIsNone(via.received)

    def test_5060_without_any_port(self) -> None:
        address, _ = self.route(("192.0.2.1", 40000), sent_by=b"192.0.2.1")
        self.assertEqual(address, ("192.0.2.1", 5060))

    def test_source_address_never_the_sent_by_host(self) -> None:
        address, via = self.route(ELSEWHERE, sent_by=b"192.0.2.1:5070")
        self.assertEqual(address, ("198.51.100.7", 5070))
        self.assertEqual(via.received, b"198.51.100.7")

    def test_rport(self) -> None:
        address, via = self.route(ELSEWHERE, sent_by=b"10.0.0.1:5070", via_params=b";rport")
        self.assertEqual(address, ELSEWHERE)
        self.assertEqual((via.received, via.params[b"rport"]), (b"198.51.100.7", b"6060"))

    def test_received_is_added_whenever_rport_was_asked_for(self) -> None:
        _, via = self.route(PEER, via_params=b";rport")
        self.assertEqual(via.received, b"192.0.2.1")

    def test_what_the_client_wrote_is_overwritten(self) -> None:
        address, via = self.route(
            ELSEWHERE, via_params=b";received=203.0.113.1;rport=1;maddr=203.0.113.2"
        )
        self.assertEqual(address, ELSEWHERE)
        self.assertEqual((via.received, via.params[b"rport"]), (b"198.51.100.7", b"6060"))

    def test_refusals_and_malformed_requests_take_the_same_way(self) -> None:
        bench = Bench()
        bench.receive(request(b"CANCEL", via_params=b";rport"), ELSEWHERE)
        bench.receive(request(via_params=b";rport").replace(b"CSeq: 1", b"CSeq: x"), ELSEWHERE)
        bench.receive(request().replace(b"Via: SIP/2.0/UDP", b"Via: SIP/2.0"), ELSEWHERE)
        self.assertEqual([message[1] for message in bench.flow.sent], [ELSEWHERE] * 3)

    def test_reliable_flow_answers_on_the_connection(self) -> None:
        bench = Bench(reliable=True)
        bench.user.answers[b"OPTIONS"] = [200]
        bench.receive(request(b"OPTIONS"), ELSEWHERE)
        self.assertEqual(bench.flow.sent[0][1], ELSEWHERE)


class ClientInviteTests(SynchronousTestCase):
    """RFC 3261 section 17.1.1, RFC 6026, and CANCEL."""

    def setUp(self) -> None:
        self.bench = Bench()

    def reply(self, tx: Any, status: int, **fields: Any) -> None:
        self.bench.receive(response(tx, status, **fields))

    def test_timers_a_and_b(self) -> None:
        self.bench.invite()
        times = []
        for tick in range(3300):
            if self.bench.flow.take():
                times.append(tick * 10)
            self.bench.advance(0.01)
        self.assertEqual(times, [0, 500, 1500, 3500, 7500, 15500, 31500])
        self.assertEqual(self.bench.user.take(), [("timed out",)])
        self.assertEqual(self.bench.layer.pending_clients, 0)
        self.assertEqual(self.bench.layer.counters.retransmitted, 6)

    def test_any_1xx_stops_both(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 100)
        self.bench.advance(600)
        self.assertEqual(self.bench.flow.methods(), [b"INVITE"])
        self.assertEqual(self.bench.user.take(), [("response", 100)])
        self.assertEqual(self.bench.layer.pending_clients, 1)

    def test_no_timer_a_over_a_reliable_transport(self) -> None:
        self.bench = Bench(reliable=True)
        self.bench.invite()
        self.bench.advance(31)
        self.assertEqual(self.bench.flow.methods(), [b"INVITE"])
        self.bench.advance(2)
        self.assertEqual(self.bench.user.take(), [("timed out",)])

    def test_failure_is_acknowledged_each_time_and_told_once(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 180)
        self.reply(tx, 486)
        self.bench.receive(response(tx, 486), ELSEWHERE)
        self.assertEqual(self.bench.user.take(), [("response", 180), ("response", 486)])
        _, ack, again = self.bench.flow.take()
        self.assertEqual((ack.method, ack.address), (b"ACK", PEER))
        self.assertEqual((again.raw, again.address), (ack.raw, PEER))
        self.assertEqual(ack.via.branch, tx.branch)
        self.assertEqual(self.bench.layer.pending_clients, 0)
        self.bench.advance(31)
        self.reply(tx, 486)
        self.assertEqual(self.bench.flow.methods(), [b"ACK"])
        self.bench.advance(2)
        self.reply(tx, 486)
        self.assertEqual(self.bench.flow.sent, [])
        self.assertEqual(self.bench.layer.counters.unmatched_responses, 1)

    def test_every_2xx_is_told_for_64_t1(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 200)
        self.reply(tx, 200)
        self.reply(tx, 200, to_tag=b"fork")
        self.bench.advance(31)
        self.reply(tx, 200)
        self.assertEqual(self.bench.user.take(), [("response", 200)] * 4)
        self.assertEqual(self.bench.layer.pending_clients, 0)
        self.bench.advance(2)
        self.reply(tx, 200)
        self.assertEqual(self.bench.user.take(), [])
        # A 2xx gets no ACK from the transaction.
        self.assertEqual(self.bench.flow.methods(), [b"INVITE"])

    def test_the_layer_repeats_the_ack_when_it_has_one(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 200)
        answered = parse_message(response(tx, 200))
        writer = RequestWriter(lambda: b"z9hG4bK-ack", b"test")
        dialog = Dialog.from_response(origin(tx.request), answered, PEER)  # type: ignore[arg-type]
        ack = writer.within(dialog, b"ACK", tx.flow, PEER, sequence=1).data
        heir = Bench().user
        repeats: list[int] = []
        self.bench.flow.take()
        self.bench.layer.acknowledge(
            tx,
            ack,
            answered,
            ELSEWHERE,
            self.bench.now,
            heir=heir,  # type: ignore[arg-type]
            repeated=repeats.append,
        )
        self.reply(tx, 200)
        self.reply(tx, 200)
        self.assertEqual(self.bench.flow.sent, [(ack, ELSEWHERE)] * 3)
        self.assertEqual(repeats, [self.bench.now])  # told once
        self.reply(tx, 200, to_tag=b"fork")
        self.assertEqual(heir.take(), [("response", 200)])
        self.assertEqual(self.bench.user.take(), [("response", 200)])

    def test_failure_after_a_2xx_is_ignored_and_the_other_way_round(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 200)
        self.reply(tx, 486)
        other = self.bench.invite()
        self.reply(other, 486)
        self.reply(other, 200)
        self.assertEqual(self.bench.user.take(), [("response", 200), ("response", 486)])

    def test_cancel_after_a_1xx_leaves_at_once(self) -> None:
        tx = self.bench.invite(headers=((b"Route", b"<sip:p.example;lr>"),))
        self.reply(tx, 180)
        self.bench.layer.cancel(tx, self.bench.now)
        self.bench.layer.cancel(tx, self.bench.now)
        invite, cancel = self.bench.flow.take()
        self.assertEqual((cancel.method, cancel.address), (b"CANCEL", PEER))
        self.assertEqual(cancel.uri, invite.uri)
        self.assertEqual(cancel.all(b"Via"), invite.all(b"Via"))
        self.assertEqual(cancel.all(b"Route"), invite.all(b"Route"))
        self.assertEqual(cancel.cseq, (1, b"CANCEL"))
        for name in (b"From", b"To", b"Call-ID"):
            self.assertEqual(cancel.first(name), invite.first(name))
        self.reply(tx, 200, method=b"CANCEL")
        self.reply(tx, 487)
        self.assertEqual(self.bench.user.take(), [("response", 180), ("response", 487)])
        self.assertEqual(self.bench.flow.methods(), [b"ACK"])
        self.bench.advance(40)
        self.assertEqual((self.bench.flow.sent, self.bench.user.log), ([], []))

    def test_cancel_waits_for_a_1xx(self) -> None:
        tx = self.bench.invite()
        self.bench.layer.cancel(tx, self.bench.now)
        self.bench.advance(0.6)
        self.assertEqual(self.bench.flow.methods(), [b"INVITE", b"INVITE"])
        self.reply(tx, 100)
        self.assertEqual(self.bench.flow.methods(), [b"CANCEL"])

    def test_held_cancel_and_no_answer_at_all(self) -> None:
        tx = self.bench.invite()
        self.bench.layer.cancel(tx, self.bench.now)
        self.bench.advance(33)
        self.assertEqual(self.bench.user.take(), [("timed out",)])

    def test_no_final_response_after_cancel(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 180)
        self.bench.advance(100)
        self.bench.layer.cancel(tx, self.bench.now)
        self.reply(tx, 200, method=b"CANCEL")
        self.bench.advance(31.9)
        self.assertEqual(self.bench.user.take(), [("response", 180)])
        self.bench.advance(0.2)
        self.assertEqual(self.bench.user.take(), [("timed out",)])
        self.assertEqual(self.bench.layer.pending_clients, 0)

    def test_cancel_is_repeated_until_answered(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 180)
        self.bench.layer.cancel(tx, self.bench.now)
        self.bench.advance(2)
        self.assertEqual(self.bench.flow.methods(), [b"INVITE"] + [b"CANCEL"] * 3)

    def test_cancel_crossing_a_2xx(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 180)
        self.bench.layer.cancel(tx, self.bench.now)
        self.reply(tx, 200)
        self.reply(tx, 481, method=b"CANCEL")
        self.bench.advance(40)
        self.assertEqual(self.bench.user.take(), [("response", 180), ("response", 200)])

    def test_cancel_after_the_final_response_does_nothing(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 200)
        self.bench.flow.take()
        self.bench.layer.cancel(tx, self.bench.now)
        self.bench.advance(40)
        self.bench.layer.cancel(tx, self.bench.now)
        self.assertEqual(self.bench.flow.sent, [])

    def test_failed_first_send_is_told_in_a_later_turn(self) -> None:
        self.bench.flow.error = OSError(errno.ENETUNREACH, "no route")
        self.bench.invite()
        self.assertEqual(self.bench.user.log, [])
        self.bench.advance(0)
        self.assertEqual(self.bench.user.take(), [("transport failed",)])
        self.assertEqual(self.bench.layer.pending_clients, 0)
        self.bench.advance(40)
        self.assertEqual(self.bench.user.log, [])

    def test_failed_repeat_is_told(self) -> None:
        self.bench.invite()
        self.bench.flow.error = OSError(errno.EHOSTUNREACH, "no route")
        self.bench.advance(0.5)
        self.assertEqual(self.bench.user.take(), [("transport failed",)])

    def test_icmp_ends_what_goes_there(self) -> None:
        self.bench.invite()
        self.bench.layer.unreachable({ELSEWHERE: {b""}}, self.bench.now)
        self.assertEqual(self.bench.user.log, [])
        self.bench.layer.unreachable({PEER: {b""}}, self.bench.now)
        self.assertEqual(self.bench.user.take(), [("transport failed",)])

    def test_icmp_about_another_request_is_not_believed(self) -> None:
        tx = self.bench.invite()
        forged = tx.data.replace(tx.branch, b"z9hG4bK-guessed")
        self.bench.layer.unreachable({PEER: {forged[:500], b"INVITE sip:other"}}, self.bench.now)
        self.assertEqual(self.bench.user.log, [])
        self.bench.layer.unreachable({PEER: {forged[:500], tx.data[:500]}}, self.bench.now)
        self.assertEqual(self.bench.user.take(), [("transport failed",)])

    def test_icmp_after_a_response_changes_nothing(self) -> None:
        tx = self.bench.invite()
        self.reply(tx, 180)
        self.bench.user.take()
        self.bench.layer.unreachable({PEER: {tx.data}}, self.bench.now)
        self.assertEqual(self.bench.user.log, [])
        self.assertEqual(self.bench.layer.pending_clients, 1)


class ClientOtherTests(SynchronousTestCase):
    """RFC 3261 section 17.1.2."""

    def setUp(self) -> None:
        self.bench = Bench()

    def sends(self, seconds: int) -> list[int]:
        times = []
        for tick in range(seconds * 100):
            if self.bench.flow.take():
                times.append(tick * 10)
            self.bench.advance(0.01)
        return times

    def test_timers_e_and_f(self) -> None:
        self.bench.send(b"BYE")
        self.assertEqual(
            self.sends(33),
            [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500],
        )
        self.assertEqual(self.bench.user.take(), [("timed out",)])

    def test_provisional_slows_timer_e_down_but_not_f(self) -> None:
        tx = self.bench.send(b"BYE")
        self.bench.receive(response(tx, 100))
        self.assertEqual(self.sends(33), [0, 500, 4500, 8500, 12500, 16500, 20500, 24500, 28500])
        self.assertEqual(self.bench.user.take(), [("response", 100), ("timed out",)])

    def test_repeated_final_response_is_absorbed_for_5_s(self) -> None:
        tx = self.bench.send(b"BYE")
        for _ in range(3):
            self.bench.receive(response(tx, 200))
        self.assertEqual(self.bench.user.take(), [("response", 200)])
        self.assertEqual(self.bench.layer.pending_clients, 0)
        counters = self.bench.layer.counters
        self.assertEqual((counters.retransmissions_absorbed, counters.responses), (2, 3))
        self.bench.advance(4.99)
        self.bench.receive(response(tx, 200))
        self.assertEqual(counters.retransmissions_absorbed, 3)
        self.bench.advance(0.04)
        self.bench.receive(response(tx, 200))
        self.assertEqual((counters.unmatched_responses, counters.responses), (1, 5))
        self.assertEqual(self.bench.user.log, [])


class ReliableClientTests(SynchronousTestCase):
    """Over a reliable transport Timers D and K are zero; Timer M is not (RFC 6026)."""

    def test_nothing_lingers_but_a_2xx(self) -> None:
        bench = Bench(reliable=True)
        refused, bye, accepted = bench.invite(), bench.send(b"BYE"), bench.invite()
        for tx, status in ((refused, 486), (bye, 200), (accepted, 200)):
            bench.receive(response(tx, status))
            bench.receive(response(tx, status))
        self.assertEqual(
            bench.user.take(), [("response", status) for status in (486, 200, 200, 200)]
        )
        self.assertEqual(bench.layer.counters.unmatched_responses, 2)
        self.assertEqual(bench.flow.methods(), [b"INVITE", b"BYE", b"INVITE", b"ACK"])


class GridTests(SynchronousTestCase):
    """Timers share wake-ups."""

    def test_timers_fall_due_on_a_grid_of_5_ms_and_never_early(self) -> None:
        bench = Bench()
        for number in range(1, 5):
            bench.now += 1_000_000
            bench.receive(request(call_id=b"%d" % number))
            due = bench.deadlines.next()
            assert due is not None
            self.assertEqual(due % 5_000_000, 0)
            self.assertGreaterEqual(due, bench.user.transactions[0].now + 200_000_000)
        bench.deadlines.run(due)
        self.assertEqual(bench.flow.statuses(), [100] * 4)


class ResponseTests(SynchronousTestCase):
    """RFC 3261 section 17.1.3: which responses count."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.tx = self.bench.invite()

    def rejected(self, data: bytes, counter: str) -> None:
        self.bench.receive(data)
        self.assertEqual(self.bench.user.log, [])
        self.assertEqual(getattr(self.bench.layer.counters, counter), 1)
        self.assertEqual(len(self.bench.flow.sent), 1)

    def test_other_branch(self) -> None:
        self.rejected(
            response(self.tx, 200).replace(b"z9hG4bK", b"z9hG4bKx"), "unmatched_responses"
        )

    def test_other_method(self) -> None:
        self.rejected(response(self.tx, 200, method=b"BYE"), "unmatched_responses")

    def test_no_branch(self) -> None:
        data = response(self.tx, 200).replace(b";branch", b";twig")
        self.rejected(data, "unmatched_responses")

    def test_more_than_one_via(self) -> None:
        data = response(self.tx, 200).replace(
            b"From:", b"Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1\r\nFrom:"
        )
        self.rejected(data, "several_vias")

    def test_malformed(self) -> None:
        self.rejected(
            response(self.tx, 200).replace(b"To: <", b"To: <").replace(b";tag=", b";tag=@"),
            "malformed",
        )

    def test_malformed_start(self) -> None:
        self.rejected(response(self.tx, 200).replace(b" 200 ", b" 999 "), "malformed")


class TortureTests(SynchronousTestCase):
    """What the layer itself does with the messages of RFC 4475 and RFC 5118."""

    def test_every_file(self) -> None:
        for folder in ("rfc4475", "rfc5118"):
            for row in expected(folder):
                with self.subTest(f"{folder}/{row['file']}"):
                    self.check(row, data_file(folder, row["file"]))

    def check(self, row: dict[str, str], data: bytes) -> None:
        bench = Bench()
        bench.receive(data)
        sent = bench.flow.statuses()
        server = row["server"]
        if any(word in server for word in ("discard", "drop;", "dropped")):
            self.assertEqual((sent, bench.user.log), ([], []))
        elif server.startswith(("400", "505", "UDP 400")) and not bench.user.log:
            self.assertEqual(sent, [505 if server.startswith("505") else 400])
        elif sent:
            self.assertEqual(sent, [400])
            self.assertIn("400", server)
        else:
            self.assertEqual(len(bench.user.log), 1)


class StopTests(SynchronousTestCase):
    """The end of the layer."""

    def test_nothing_happens_after_stop(self) -> None:
        bench = Bench()
        bench.user.answers[b"BYE"] = [200]
        bench.receive(request())
        bench.receive(request(b"BYE", to_tag=b"x"))
        tx = bench.invite()
        pending = bench.user.transactions[0]
        bench.flow.take()
        bench.user.take()
        bench.layer.stop()
        bench.advance(100)
        bench.receive(request(call_id=b"new"))
        bench.receive(response(tx, 180))
        pending.respond(200, now=bench.now)
        bench.layer.cancel(tx, bench.now)
        bench.advance(100)
        self.assertEqual((bench.flow.sent, bench.user.log), ([], []))
        self.assertIsNone(bench.deadlines.next())
        self.assertRaises(CallOver, bench.invite)
        layer = bench.layer
        self.assertEqual(
            (layer.pending_clients, layer.pending_servers, layer.remembered), (0, 0, 0)
        )

    def test_a_cancel_that_was_held_when_the_layer_stopped(self) -> None:
        bench = Bench()
        tx = bench.invite()
        bench.receive(response(tx, 180))
        bench.layer.stop()
        bench.layer.cancel(tx, bench.now)
        self.assertEqual(bench.flow.methods(), [b"INVITE"])


class RandomWalkTests(SynchronousTestCase):
    """No sequence of datagrams, timers and user actions makes the layer raise or leak."""

    def walk(self, seed: int) -> None:
        chance = random.Random(seed)
        bench = Bench(reliable=chance.random() < 0.2, max_pending=40, max_finished=60)
        clients: list[Any] = []
        methods = (b"INVITE", b"ACK", b"CANCEL", b"BYE", b"OPTIONS", b"INFO")

        def answer(tx: Any, now: int) -> None:
            bench.user.transactions.append(tx)
            for status in chance.choice(((), (180,), (200,), (404,), (180, 200), (183, 500))):
                tx.respond(status, now=now)

        bench.user.request_received = answer  # type: ignore[method-assign]

        def incoming() -> bytes:
            return request(
                chance.choice(methods),
                branch=chance.choice((None, b"7", *(b"z9hG4bK%d" % n for n in range(4)))),
                call_id=b"c%d" % chance.randrange(3),
                to_tag=chance.choice((None, b"x", b"y")),
                cseq=chance.randrange(1, 4),
                via_params=chance.choice((b"", b";rport", b";received=1.2.3.4")),
            )

        def mutated(data: bytes) -> bytes:
            broken = bytearray(data)
            for _ in range(chance.randrange(1, 5)):
                at = chance.randrange(len(broken))
                broken[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
            return bytes(broken)

        for _ in range(250):
            action = chance.randrange(9)
            if action < 3:
                bench.receive(incoming())
            elif action == 3:
                bench.receive(mutated(incoming()))
            elif action == 4:
                clients.append(bench.send(chance.choice((b"INVITE", b"BYE"))))
            elif action == 5 and clients:
                tx = chance.choice(clients)
                data = response(
                    tx,
                    chance.choice((100, 180, 200, 302, 486, 603)),
                    to_tag=chance.choice((b"a", b"b")),
                    method=chance.choice((b"", b"", b"CANCEL")),
                )
                bench.receive(data if chance.random() < 0.8 else mutated(data))
            elif action == 6:
                bench.flow.error = (
                    OSError(errno.ENETUNREACH, "no") if chance.random() < 0.3 else None
                )
            elif action == 7:
                bench.advance(chance.choice((0.1, 0.6, 5.0, 33.0)))
            elif clients and chance.random() < 0.5:
                tx = chance.choice(clients)
                if isinstance(tx, InviteClientTransaction):
                    bench.layer.cancel(tx, bench.now)
            elif bench.user.transactions:
                tx = chance.choice(bench.user.transactions)
                try:
                    tx.respond(chance.choice((180, 200, 486)), now=bench.now)
                except UnexpectedInput:
                    pass  # the user's mistake, not the network's
        bench.flow.error = None
        for tx in clients:
            bench.layer.cancel(tx, bench.now) if isinstance(tx, InviteClientTransaction) else None
        for tx in bench.user.transactions:
            try:
                tx.respond(486, now=bench.now)
            except UnexpectedInput:
                pass
        bench.advance(200)
        layer = bench.layer
        self.assertEqual(
            (
                layer.pending_clients,
                layer.pending_servers,
                layer.remembered,
                len(layer._lingering),
                len(layer._absorbing),
                len(layer._merged),
            ),
            (0, 0, 0, 0, 0, 0),
            f"seed {seed}",
        )
        self.assertIsNone(bench.deadlines.next(), f"seed {seed}")

    def test_walks(self) -> None:
        for seed in range(60):
            with self.subTest(seed=seed):
                self.walk(seed)
