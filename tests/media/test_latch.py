from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.latch import PROBATION, RELEARN, EarlySource, Latch

AGREED = ("198.51.100.7", 4000)
SIP = "203.0.113.9"


class LatchTests(SynchronousTestCase):
    def offer(self, latch, source, sequences, ssrc=1):
        return [latch.admits(source, ssrc, sequence) for sequence in sequences]

    def test_the_agreed_address_latches_at_once(self):
        self.assertTrue(Latch(AGREED, AGREED[0]).admits(AGREED, 1, 5))

    def test_another_port_of_the_same_ip_is_a_stranger_without_nat(self):
        latch = Latch(AGREED, AGREED[0])
        self.assertEqual(self.offer(latch, (AGREED[0], 4002), range(20)), [False] * 20)
        self.assertEqual(latch.strangers, 20)

    def test_nat_mode_admits_any_port_after_probation(self):
        latch = Latch(AGREED, AGREED[0], True)
        self.assertEqual(
            self.offer(latch, (AGREED[0], 4002), range(4)), [False, False, False, True]
        )

    def test_where_sip_comes_from_elsewhere_either_ip_may_prove_itself(self):
        for host in (SIP, AGREED[0]):
            latch = Latch(AGREED, SIP)
            self.assertEqual(
                self.offer(latch, (host, 9), [65534, 65535, 0, 1]), [False, False, False, True]
            )

    def test_nat_off_admits_the_agreed_address_only(self):
        latch = Latch(AGREED, SIP, False)
        self.assertFalse(any(self.offer(latch, (SIP, 9), range(10))))
        self.assertTrue(latch.admits(AGREED, 1, 1))

    def test_a_third_ip_never_latches(self):
        latch = Latch(AGREED, SIP, True)
        self.assertFalse(any(self.offer(latch, ("192.0.2.66", 4000), range(100))))
        self.assertEqual(latch.strangers, 100)

    def test_probation_starts_again_on_another_ssrc(self):
        latch = Latch(AGREED, SIP)
        self.offer(latch, (SIP, 9), range(3), ssrc=1)
        self.assertFalse(latch.admits((SIP, 9), 2, 3))
        self.assertEqual(self.offer(latch, (SIP, 9), [4, 5, 6], ssrc=2), [False, False, True])

    def test_probation_starts_again_where_the_sequence_does_not_rise(self):
        latch = Latch(AGREED, SIP)
        self.assertFalse(any(self.offer(latch, (SIP, 9), [5, 6, 7, 7, 6, 5, 4, 3, 2])))
        self.assertEqual(self.offer(latch, (SIP, 9), [3, 4, 5]), [False, False, True])

    def test_candidates_prove_themselves_each_for_its_own(self):
        latch = Latch(AGREED, SIP)
        seen = [latch.admits((SIP, 9 + turn % 2), 1, turn) for turn in range(7)]
        self.assertEqual(seen, [False] * 6 + [True])

    def test_many_silent_ports_do_not_keep_the_peer_out(self):
        latch = Latch(AGREED, SIP)
        for port in range(1, 2000):
            latch.admits((SIP, port), 1, 0)
            self.assertLessEqual(len(latch._candidates), 4)
        self.assertIn(True, self.offer(latch, (SIP, 5555), range(PROBATION)))

    def test_four_prove_themselves_side_by_side_and_a_fifth_takes_the_place_of_the_oldest(self):
        for ports, admitted in ((4, True), (5, False)):
            latch = Latch(AGREED, SIP)
            seen = [latch.admits((SIP, 9 + turn % ports), 1, turn) for turn in range(4 * ports)]
            self.assertIs(any(seen), admitted, ports)

    def test_on_hold_nobody_latches(self):
        latch = Latch(None, SIP, True)
        self.assertFalse(any(self.offer(latch, (SIP, 9), range(10))))

    def test_after_a_silence_the_old_source_comes_back_at_once_others_prove_themselves(self):
        latch = Latch(AGREED, SIP)
        latch.lost((SIP, 9))
        self.assertEqual(self.offer(latch, (SIP, 10), range(4)), [False, False, False, True])
        latch.lost((SIP, 9))
        self.assertTrue(latch.admits((SIP, 9), 1, 1))

    def test_rtcp_concerns_the_agreed_ip_and_the_ones_that_may_latch(self):
        latch = Latch(AGREED, SIP)
        self.assertTrue(latch.may_be_peer(AGREED[0]))
        self.assertTrue(latch.may_be_peer(SIP))
        self.assertFalse(latch.may_be_peer("192.0.2.66"))
        self.assertFalse(Latch(AGREED, SIP, False).may_be_peer(SIP))

    @settings(max_examples=100)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([(SIP, 1), (SIP, 2), ("192.0.2.66", 4000)]),
                st.integers(1, 2),
                st.integers(0, 6),
            ),
            max_size=40,
        )
    )
    def test_whoever_latches_showed_four_packets_in_rising_sequence(self, packets):
        latch = Latch(AGREED, SIP)
        before = []
        for source, ssrc, sequence in packets:
            before.append((source, ssrc, sequence))
            if latch.admits(source, ssrc, sequence):
                own = [each[1:] for each in before if each[0] == source][-PROBATION:]
                self.assertEqual(len(own), PROBATION)
                self.assertEqual({each[0] for each in own}, {ssrc})
                self.assertEqual([each[1] for each in own], sorted({each[1] for each in own}))
                return


class EarlySourceTests(SynchronousTestCase):
    def test_only_the_callee_is_heard(self):
        early = EarlySource(SIP)
        self.assertFalse(early.admits(("192.0.2.66", 1), 0))
        self.assertTrue(early.admits((SIP, 1), 0))
        self.assertEqual((early.strangers, early.stranger), (1, ("192.0.2.66", 1)))

    def test_the_first_source_stays_until_it_is_silent(self):
        early = EarlySource(SIP)
        self.assertTrue(early.admits((SIP, 1), 0))
        self.assertFalse(early.admits((SIP, 2), RELEARN - 1))
        self.assertTrue(early.admits((SIP, 1), RELEARN - 1))
        self.assertFalse(early.admits((SIP, 2), 2 * RELEARN - 2))
        self.assertTrue(early.admits((SIP, 2), 2 * RELEARN - 1))
        self.assertEqual((early.strangers, early.stranger), (2, (SIP, 2)))
