"""Where HEP packets go, as it is written on the command line."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon.collector import Collector, parse_collector
from sessioncore.errors import ConfigurationError


class CollectorTests(SynchronousTestCase):
    def test_forms(self) -> None:
        for text, expected in {
            "udp:192.0.2.9:9061:id=7:password=secret": Collector("192.0.2.9", 9061, 7, "secret"),
            "udp:192.0.2.9:password=a\\:b:id=0": Collector("192.0.2.9", 9060, 0, "a:b"),
            "udp:homer.example.com": Collector("homer.example.com"),
            "udp:[2001:db8::9]:9060": Collector("2001:db8::9"),
            "udp:2001\\:db8\\:\\:9": Collector("2001:db8::9"),
            "udp:localhost:id=4294967295": Collector("localhost", agent=4294967295),
        }.items():
            self.assertEqual(parse_collector(text), expected, text)

    def test_the_password_is_not_shown(self) -> None:
        self.assertNotIn("secret", repr(parse_collector("udp:h:password=secret")))

    def test_what_is_wrong(self) -> None:
        for text, says in {
            "": "cannot send to ''",
            "udp": "cannot send to 'udp'",
            "tcp:192.0.2.9:9060": "cannot send to 'tcp:192.0.2.9:9060'",
            "udp:": "'' is not an IP address or a name",
            "udp:a b": "'a b' is not an IP address or a name",
            "udp:192.0.2.999": "'192.0.2.999' is not an IP address or a name",
            "udp:h:0": "'0' is not a port",
            "udp:h:65536": "'65536' is not a port",
            "udp:h:\u0661": "is not a port",
            "udp:h:9060:9061": "'9061' is not understood",
            "udp:h:id": "'id' is not a port",
            "udp:h:9060:id": "'id' is not understood",
            "udp:h:id=7:id=8": "'id' is not understood",
            "udp:h:node=7": "'node' is not understood",
            "udp:h:id=4294967296": "id=4294967296 is not a number up to 4294967295",
            "udp:h:id=node": "id=node is not a number",
        }.items():
            error = self.assertRaises(ConfigurationError, parse_collector, text)
            self.assertIn(says, str(error), text)
            self.assertIn("write for example udp:192.0.2.9:9060:id=7", str(error))
