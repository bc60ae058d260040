from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.latch import PROBATION, EarlySource
from sessioncore.media.peer import Peer
from tests.media.fakes import PEER, Bench, agreement

SIP = "203.0.113.5"
MOVED = ("198.51.100.8", 6000)
STRANGER = ("192.0.2.66", 1)


class PeerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.peer = Peer()

    def hears(self, source: tuple[str, int], sequence: int = 1) -> bool:
        return self.peer.admits(source, 7, sequence, 0)

    def test_before_an_agreement_nobody_is_heard(self) -> None:
        self.assertFalse(self.hears(PEER))
        self.assertFalse(self.peer.latches)
        self.assertIsNone(self.peer.described)
        self.assertFalse(self.peer.may_report(PEER[0], None))
        self.assertTrue(self.peer.may_report(PEER[0], PEER))

    def test_the_same_agreement_and_one_without_an_address_move_nobody(self) -> None:
        self.assertTrue(self.peer.agree(PEER, SIP, None))
        for remote, moves in ((PEER, False), (None, False), (MOVED, True), (PEER, True)):
            self.assertEqual(self.peer.agree(remote, SIP, None), moves, remote)
        self.assertTrue(self.peer.agree(PEER, "203.0.113.6", None), "SIP from elsewhere")
        self.assertEqual(self.peer.described, PEER)

    def test_a_first_agreement_without_an_address_makes_rules(self) -> None:
        self.assertTrue(self.peer.agree(None, SIP, None))
        self.assertFalse(self.peer.agree(None, SIP, None))
        self.assertFalse(self.hears(PEER))
        self.assertTrue(self.peer.agree(PEER, SIP, None))
        self.assertTrue(self.hears(PEER))

    def test_who_is_latched_is_heard_alone_and_may_come_back(self) -> None:
        self.peer.agree(PEER, SIP, None)
        self.assertTrue(self.hears(PEER))
        self.assertTrue(self.peer.latches)
        self.assertTrue(self.peer.latch(PEER, 5))
        self.assertFalse(self.peer.latches)
        self.assertTrue(self.hears(PEER))
        self.assertFalse(self.hears((SIP, 5)))
        self.peer.lost()
        self.peer.latched = None
        self.assertTrue(self.hears(PEER))
        self.assertFalse(self.peer.latch(PEER, 5), "no news")

    def test_after_redirect_nobody_else_can_prove_itself(self) -> None:
        self.peer.agree(PEER, SIP, None)
        self.peer.redirect(MOVED)
        proven = [self.hears((SIP, 5), number) for number in range(2 * PROBATION)]
        self.assertNotIn(True, proven)
        self.assertTrue(self.hears(MOVED))

    def test_strangers_are_counted_over_all_rules(self) -> None:
        self.peer.early = EarlySource(PEER[0])
        for number, (end, stranger) in enumerate(
            (
                (lambda: self.peer.agree(PEER, SIP, False), STRANGER),
                (lambda: self.peer.agree(MOVED, SIP, False), (SIP, 5)),
                (lambda: self.peer.redirect(PEER), (SIP, 6)),
                (lambda: self.peer.latch(PEER, 5), (SIP, 7)),
                (lambda: None, (SIP, 8)),
            ),
            1,
        ):
            self.assertFalse(self.hears(stranger))
            for _ in range(2):
                self.assertEqual((self.peer.strangers, self.peer.stranger), (number, stranger))
                end()


class EarlyTests(SynchronousTestCase):
    def test_strangers_before_the_agreement_are_counted_after_it(self) -> None:
        bench = Bench()
        stream = bench.open()
        stream.expect_early(PEER[0])
        stream.peer.admits(STRANGER, 1, 1, bench.now)
        stream.establish(agreement(stream), signalling_host=SIP, nat=None, now=bench.now)
        self.assertEqual(stream.statistics.strangers, 1)
        self.assertEqual(stream.peer.stranger, STRANGER)
