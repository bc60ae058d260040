"""RFC 3263 over UDP: literals at once, SRV in RFC 2782's order, bounded in time and number."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.names.error import DNSServerError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore.net import nameservers, resolver
from sessioncore.net.addresses import IVirtualHost
from sessioncore.net.nameservers import NameServers, servers_in
from sessioncore.net.resolver import ResolutionError, resolver_for
from sessioncore.net.srv import Service, in_order
from sessioncore.sip.values import parse_uri
from sessioncore.testing.network import FakeNetwork


class ResolverCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork()
        self.host = self.network.host("192.0.2.1")
        self.names = self.network.names
        self.resolver = resolver_for(self.host, Random(1).randrange)

    def resolve(self, uri: str) -> Any:
        return self.resolver.resolve_sip_uri(parse_uri(uri.encode()))

    def found(self, uri: str) -> Any:
        return self.successResultOf(self.resolve(uri))

    def reason(self, deferred: Deferred[Any]) -> str:
        error = self.failureResultOf(deferred, ResolutionError).value
        self.assertIsNone(error.status)
        return str(error)


class ResolverTests(ResolverCase):
    def test_a_host_of_the_network(self) -> None:
        verifyObject(IVirtualHost, self.host)

    def test_literals(self) -> None:
        for uri, expected in (
            ("sip:bob@192.0.2.7", ("192.0.2.7", 5060)),
            ("sip:192.0.2.7:5070", ("192.0.2.7", 5070)),
            ("sip:bob@[2001:db8::1]:5062", ("2001:db8::1", 5062)),
        ):
            self.assertEqual(self.found(uri), [expected])
        self.assertEqual(self.names.asked, [])

    def test_maddr_takes_the_place_of_the_host(self) -> None:
        self.assertEqual(self.found("sip:bob@example.com;maddr=192.0.2.8"), [("192.0.2.8", 5060)])

    def test_a_port_means_no_srv(self) -> None:
        self.names.add("example.com", "192.0.2.5")
        self.names.add_service("_sip._udp.example.com", "other.example.com", 5090)
        self.assertEqual(self.found("sip:bob@example.com:5070"), [("192.0.2.5", 5070)])
        self.assertEqual(self.names.asked, [("A", "example.com")])

    def test_srv(self) -> None:
        self.names.add_service("_sip._udp.example.com", "b.example.com", 5080, priority=20)
        self.names.add_service("_sip._udp.example.com", "a.example.com", 5070, priority=10)
        self.names.add("a.example.com", "192.0.2.5", "192.0.2.6")
        self.names.add("b.example.com", "192.0.2.7")
        expected = [("192.0.2.5", 5070), ("192.0.2.6", 5070), ("192.0.2.7", 5080)]
        self.assertEqual(self.found("sip:bob@example.com"), expected)

    def test_a_target_without_address_is_passed_over(self) -> None:
        self.names.add_service("_sip._udp.example.com", "gone.example.com", priority=1)
        self.names.add_service("_sip._udp.example.com", "b.example.com", 5080, priority=2)
        self.names.add("b.example.com", "192.0.2.7")
        self.assertEqual(self.found("sip:bob@example.com"), [("192.0.2.7", 5080)])

    def test_no_target_has_an_address(self) -> None:
        self.names.add_service("_sip._udp.example.com", "gone.example.com")
        self.assertIn("gone.example.com", self.reason(self.resolve("sip:bob@example.com")))

    def test_no_service_at_all(self) -> None:
        self.names.add_service("_sip._udp.example.com", ".")
        self.names.add("example.com", "192.0.2.5")
        self.assertIn("offers no SIP", self.reason(self.resolve("sip:bob@example.com")))

    def test_without_srv(self) -> None:
        self.names.add("example.com", "192.0.2.5")
        self.assertEqual(self.found("sip:bob@EXAMPLE.com."), [("192.0.2.5", 5060)])

    def test_no_such_name(self) -> None:
        self.assertIn("no such name", self.reason(self.resolve("sip:bob@example.com")))

    def test_families(self) -> None:
        self.names.add("example.com", "2001:db8::5", "192.0.2.5")
        self.assertEqual(self.found("sip:example.com"), [("192.0.2.5", 5060)])
        self.resolver.families = (6, 4)
        both = [("2001:db8::5", 5060), ("192.0.2.5", 5060)]
        self.assertEqual(self.found("sip:example.com"), both)

    def test_one_family_failing_is_enough(self) -> None:
        self.names.add("example.com", "192.0.2.5")
        self.resolver.families = (4, 6)
        self.assertEqual(self.found("sip:example.com"), [("192.0.2.5", 5060)])

    def test_localhost_without_anything(self) -> None:
        self.assertEqual(self.found("sip:localhost"), [("127.0.0.1", 5060)])
        self.assertEqual(self.found("sip:localhost:5070"), [("127.0.0.1", 5070)])

    def test_sips_is_not_for_udp(self) -> None:
        self.assertIn("sips", self.reason(self.resolve("sips:bob@192.0.2.1")))

    def test_no_host_names(self) -> None:
        for host in ("", "a" * 300, "b\u00fccher.example"):
            self.assertIn("is not a host name", self.reason(self.resolver.resolve(host)))

    def test_silent_servers_are_waited_for_so_long(self) -> None:
        self.names.silent = {"example.com", "_sip._udp.example.com"}
        found = self.resolve("sip:bob@example.com")
        self.network.advance(7.9)
        self.assertNoResult(found)
        self.network.advance(0.2)
        self.assertIn("do not answer", self.reason(found))

    def test_a_silent_srv_still_leaves_the_host(self) -> None:
        self.names.silent = {"_sip._udp.example.com"}
        self.names.add("example.com", "192.0.2.5")
        found = self.resolve("sip:bob@example.com")
        self.network.advance(4.1)
        self.assertEqual(self.successResultOf(found), [("192.0.2.5", 5060)])

    def test_a_broken_server(self) -> None:
        broken = fail(DNSServerError())
        self.patch(self.names, "lookupAddress", lambda name: broken)
        self.assertIn("has no address", self.reason(self.resolve("sip:bob@example.com:5060")))

    def test_cancel(self) -> None:
        self.names.silent = {"_sip._udp.example.com"}
        found = self.resolve("sip:bob@example.com")
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.assertEqual(self.resolver._pending, 0)
        self.assertEqual(self.host.getDelayedCalls(), [])

    def test_lookups_under_way_are_bounded(self) -> None:
        self.patch(resolver, "_MOST_PENDING", 3)
        self.names.silent = {"example.com"}
        waiting = [self.resolve("sip:example.com:5060") for _ in range(3)]
        self.assertIn("too many", self.reason(self.resolve("sip:example.com:5060")))
        self.assertEqual(self.found("sip:192.0.2.1"), [("192.0.2.1", 5060)])
        self.network.advance(5)
        for each in waiting:
            self.reason(each)
        self.names.add("b.example.com", "192.0.2.5")
        self.found("sip:b.example.com")

    def test_answers_are_kept_as_long_as_they_say(self) -> None:
        self.names.add("example.com", "192.0.2.5", ttl=60)
        for _ in range(3):
            self.found("sip:example.com:5060")
        self.assertEqual(len(self.names.asked), 1)
        self.network.advance(61)
        self.names.remove("example.com")
        self.reason(self.resolve("sip:example.com:5060"))
        self.assertEqual(len(self.names.asked), 2)

    def test_no_answer_is_kept_long(self) -> None:
        self.names.add("example.com", "192.0.2.5", ttl=10**6)
        self.found("sip:example.com:5060")
        self.network.advance(301)
        self.found("sip:example.com:5060")
        self.assertEqual(len(self.names.asked), 2)

    def test_the_cache_is_bounded(self) -> None:
        self.patch(resolver, "_MOST_CACHED", 10)
        for each in range(50):
            self.names.add(f"h{each}.example.com", "192.0.2.5")
            self.found(f"sip:h{each}.example.com:5060")
            self.assertLessEqual(len(self.resolver._cache), 10)


class OrderTests(SynchronousTestCase):
    def test_priority_before_weight(self) -> None:
        low, high = Service(10, 0, "a", 1), Service(20, 65535, "b", 1)
        for seed in range(20):
            self.assertEqual(in_order([high, low], Random(seed).randrange), [low, high])

    def test_weight(self) -> None:
        heavy, light = Service(1, 90, "a", 1), Service(1, 10, "b", 1)
        random = Random(1)
        first = Counter(in_order([light, heavy], random.randrange)[0] for _ in range(2000))
        self.assertTrue(abs(first[heavy] / 2000 - 0.9) < 0.03)

    def test_weight_zero_has_a_small_chance(self) -> None:
        none, light = Service(1, 0, "a", 1), Service(1, 10, "b", 1)
        random = Random(1)
        first = Counter(in_order([light, none], random.randrange)[0] for _ in range(2000))
        self.assertTrue(0 < first[none] < 400)

    @settings(max_examples=100)
    @given(
        st.lists(
            st.builds(
                Service,
                st.integers(0, 3),
                st.integers(0, 65535),
                st.sampled_from(["a", "b", "c"]),
                st.integers(1, 9),
            ),
            max_size=20,
        ),
        st.integers(0, 100),
    )
    def test_everything_once_and_by_priority(self, services: list[Service], seed: int) -> None:
        ordered = in_order(services, Random(seed).randrange)
        self.assertEqual(Counter(ordered), Counter(services))
        priorities = [service.priority for service in ordered]
        self.assertEqual(priorities, sorted(priorities))


class NameServersTests(SynchronousTestCase):
    """The system's files; nothing is asked over a network."""

    def setUp(self) -> None:
        self.hosts = self.mktemp()
        self.resolv = self.mktemp()
        self.write(self.hosts, "192.0.2.3 pbx pbx.example.com # ours\n2001:db8::3 pbx\n")
        self.write(self.resolv, "nameserver 192.0.2.53\n")
        self.asked: list[Any] = []
        self.patch(nameservers, "Resolver", self.make)
        host = FakeNetwork().host("192.0.2.1")
        self.names = NameServers(host, hosts=self.hosts, resolv_conf=self.resolv)
        self.resolver = resolver.SipResolver(self.names, host, Random(1).randrange)

    def write(self, path: str, text: str) -> None:
        with open(path, "w", encoding="utf-8") as opened:
            opened.write(text)

    def make(self, servers: Any, timeout: Any, reactor: Any) -> Any:
        asked = self.asked

        class Servers:
            def lookupAddress(self, name: str) -> Any:
                asked.append((servers, name))
                return fail(DNSServerError())

            lookupService = lookupIPV6Address = lookupAddress

        return Servers()

    def test_the_hosts_file_comes_first(self) -> None:
        found = self.resolver.resolve("pbx.example.com", 5060)
        self.assertEqual(self.successResultOf(found), [("192.0.2.3", 5060)])
        self.resolver.families = (4, 6)
        found = self.resolver.resolve("pbx", 5060)
        expected = [("192.0.2.3", 5060), ("2001:db8::3", 5060)]
        self.assertEqual(self.successResultOf(found), expected)
        self.assertEqual(self.asked, [])

    def test_localhost_is_never_asked_of_a_server(self) -> None:
        found = self.resolver.resolve("localhost")
        self.assertEqual(self.successResultOf(found), [("127.0.0.1", 5060)])
        self.assertEqual(self.asked, [])

    def test_other_names_are(self) -> None:
        self.failureResultOf(self.resolver.resolve("example.com"), ResolutionError)
        server = [("192.0.2.53", 53)]
        expected = [(server, "_sip._udp.example.com"), (server, "example.com")]
        self.assertEqual(self.asked, expected)

    def test_a_changed_resolv_conf_is_read_again(self) -> None:
        self.failureResultOf(self.resolver.resolve("a.example", 1), ResolutionError)
        self.write(self.resolv, "nameserver 192.0.2.54\nnameserver 192.0.2.55\n")
        self.names._read_at = None  # the file system's clock may be too coarse to tell
        self.failureResultOf(self.resolver.resolve("b.example", 1), ResolutionError)
        self.assertEqual(self.asked[1][0], [("192.0.2.54", 53), ("192.0.2.55", 53)])

    def test_resolv_conf(self) -> None:
        text = "# c\nnameserver 192.0.2.1 # x\n nameserver\t::1\nnameserver name\nsearch a\n"
        self.assertEqual(servers_in(text), [("192.0.2.1", 53), ("::1", 53)])
        self.assertEqual(servers_in(""), [("127.0.0.1", 53)])

    def test_no_files_at_all(self) -> None:
        host = FakeNetwork().host("192.0.2.1")
        names = NameServers(host, hosts="/nonexistent", resolv_conf="/nonexistent")
        found = resolver.SipResolver(names, host, Random(1).randrange).resolve("a.example", 1)
        self.failureResultOf(found, ResolutionError)
        self.assertEqual(self.asked[0][0], [("127.0.0.1", 53)])


class HostileNameTests(ResolverCase):
    """Names of strangers: whatever is wrong with one is the failure of its own lookup."""

    HOSTS = ("a..b", ".a", "a" * 64, "a" * 64 + ".b", "x." * 127 + "yy", "-.%zone", "%zone")
    HOSTS += ("fe80::1%lo", "\xe4.example", "a b", "", ".", "a\0b", "\ufffd", "a@b", "b..")

    def test_each_fails_with_a_resolution_error_and_is_not_asked_for(self) -> None:
        for host in self.HOSTS:
            for port in (None, 5060):
                self.assertIn("not a host name", self.reason(self.resolver.resolve(host, port)))
        self.assertEqual((self.names.asked, self.resolver._pending), ([], 0))

    def test_names_at_the_limit_are_asked_for(self) -> None:
        for host in ("a" * 63 + ".b", "_sip.my_host", "x." * 126 + "y", "a.b."):
            self.assertIn("no such name", self.reason(self.resolver.resolve(host, 5060)))

    def test_whatever_the_name_functions_raise(self) -> None:
        def raising(_name: str) -> Any:
            raise UnicodeError("label empty or too long")

        def failing(_name: str) -> Any:
            return fail(UnicodeError("label empty or too long"))

        def nonsense(_name: str) -> Any:
            return succeed(None)

        for broken in (raising, failing, nonsense):
            for method in ("lookupService", "lookupAddress"):
                with self.subTest(broken=broken.__name__, method=method):
                    self.resolver._cache.clear()
                    self.names.add("fine.example", "192.0.2.7")
                    patched = self.patch(self.names, method, broken)
                    reason = self.reason(self.resolver.resolve("fine.example"))
                    self.assertIn("fine.example", reason)
                    self.assertEqual(self.resolver._pending, 0)
                    patched.restore()
