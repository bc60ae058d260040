from errno import EADDRINUSE, EMFILE

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import NoPortsError
from sessioncore.net.rtp_pool import PooledPorts, PortPool
from sessioncore.vocabulary import SECOND


class PortPoolTests(SynchronousTestCase):
    def pool(self, ports=range(100, 108), taken=(), error=EADDRINUSE):
        self.opened = []
        self.taken = set(taken)

        def open_pair(port):
            if port in self.taken:
                raise OSError(error, "taken")
            self.opened.append(port)
            return port

        return PortPool(open_pair, ports)

    def test_only_even_ports_with_an_odd_one_above_are_pairs(self):
        for ports, expected in (
            (range(100, 108), [100, 102, 104, 106]),
            (range(101, 107), [102, 104]),
            (range(100, 101), []),
        ):
            pool = self.pool(ports)
            self.assertEqual(pool.free(0), len(expected))
            pool.open_ahead(100)
            self.assertEqual(self.opened, expected)

    def test_a_pair_comes_back_after_its_rest_not_before(self):
        pool = self.pool(range(100, 104))
        pair = pool.lend(0)
        pool.take_back(pair, 5)
        self.assertEqual(pool.free(4 + 2 * SECOND), 1)
        self.assertEqual(pool.free(5 + 2 * SECOND), 2)
        self.assertEqual(pool.lend(4 + 2 * SECOND), 102)
        self.assertEqual(pool.lend(5 + 2 * SECOND), pair)
        self.assertEqual(self.opened, [100, 102])

    def test_where_there_are_no_others_a_short_rest_will_do(self):
        for error in (EADDRINUSE, EMFILE):
            pool = self.pool(range(100, 104), taken=[102], error=error)
            pair = pool.lend(0)
            pool.take_back(pair, 5)
            self.assertEqual(pool.free(4 + 2 * SECOND), 1, "the one that is taken")
            self.assertRaises(NoPortsError, pool.lend, 4 + SECOND // 2)
            self.assertEqual(pool.lend(5 + SECOND // 2), pair)
            self.assertRaises(NoPortsError, pool.lend, 5 + SECOND // 2)

    def test_open_pairs_are_lent_before_new_ones_are_opened(self):
        pool = self.pool()
        pool.take_back(pool.lend(0), 0)
        pool.lend(3 * SECOND)
        self.assertEqual(self.opened, [100])

    def test_taken_ports_are_passed_over_and_tried_again(self):
        pool = self.pool(taken=[100, 104])
        self.assertEqual([pool.lend(0), pool.lend(0)], [102, 106])
        self.assertRaises(NoPortsError, pool.lend, 0)
        self.taken.clear()
        self.assertEqual(sorted([pool.lend(0), pool.lend(0)]), [100, 104])

    def test_a_range_held_by_others_costs_a_bounded_number_of_tries(self):
        tries = []

        def open_pair(port):
            tries.append(port)
            raise OSError(EADDRINUSE, "taken")

        pool = PortPool(open_pair, range(10_000, 30_000))
        self.assertRaises(NoPortsError, pool.lend, 0)
        self.assertLess(len(tries), 1000)

    def test_what_another_server_holds_refuses_no_call(self):
        pool = self.pool(range(1000, 3000), taken=range(1000, 2000))
        self.assertEqual(pool.lend(0), 2000)

    def test_another_error_names_itself_and_loses_no_port(self):
        self.broken = True

        def open_pair(port):
            if self.broken:
                raise OSError(EMFILE, "too many open files")
            return port

        pool = PortPool(open_pair, range(100, 102))
        error = self.assertRaises(NoPortsError, pool.lend, 0)
        self.assertIn("too many open files", str(error))
        self.assertEqual(pool.open_ahead(3), 0)
        self.broken = False
        self.assertEqual(pool.lend(0), 100)

    def test_drain_gives_everything_that_is_not_lent(self):
        pool = self.pool()
        pool.open_ahead(2)
        pool.take_back(pool.lend(0), 0)
        self.assertEqual(sorted(pool.drain()), [100, 102])
        self.assertRaises(NoPortsError, pool.lend, 9 * SECOND)


class Pair:
    def __init__(self, address):
        self.address = address
        self.rows = []

    def begin(self, row):
        self.rows.append(row)


class Ports(PooledPorts):
    def open_pair(self, local_ip, number):
        return Pair((local_ip, number))


class PooledPortsTests(SynchronousTestCase):
    def test_each_local_address_has_ports_of_its_own(self):
        ports = Ports(range(100, 104), SECOND)
        self.assertEqual(ports.ports_free(0), 2)
        one, other = ports.lease("192.0.2.1", 5, 0), ports.lease("192.0.2.2", 6, 0)
        self.assertEqual(one.address, ("192.0.2.1", 100))
        self.assertEqual(other.address, ("192.0.2.2", 100))
        self.assertEqual((one.rows, other.rows), ([5], [6]))
        self.assertEqual(ports.open_ahead("192.0.2.1", 9), 1)
        ports.lease("192.0.2.2", 7, 0)
        self.assertEqual(ports.ports_free(0), 0, "as few as at the address that has fewest")
        self.assertRaises(NoPortsError, ports.lease, "192.0.2.2", 8, 0)

    def test_a_pair_goes_back_to_the_pool_it_came_from(self):
        ports = Ports(range(100, 102), SECOND)
        pair = ports.lease("192.0.2.1", 5, 0)
        pair.pool.take_back(pair, 0)
        self.assertIs(ports.lease("192.0.2.1", 6, SECOND), pair)
        self.assertEqual(pair.rows, [5, 6])
