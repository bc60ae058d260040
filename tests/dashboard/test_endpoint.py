"""Endpoint descriptions: loopback by default, a token elsewhere, one clear line for what fails."""

from __future__ import annotations

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard.endpoint import WebPlan, cannot_listen, parse_endpoint
from sessioncore.errors import ConfigurationError


class EndpointTests(SynchronousTestCase):
    def test_the_loopback_interface_by_default(self) -> None:
        for text, made in {
            "tcp:8080": "tcp:8080:interface=127.0.0.1",
            "tcp:port=8080": "tcp:port=8080:interface=127.0.0.1",
            "tcp:65535": "tcp:65535:interface=127.0.0.1",
            "tcp:0:backlog=5": "tcp:0:backlog=5:interface=127.0.0.1",
            "tcp6:8080": r"tcp6:8080:interface=\:\:1",
        }.items():
            endpoint = parse_endpoint("--dashboard", text)
            self.assertEqual((endpoint.description, endpoint.is_local), (made, True))

    def test_whether_others_can_reach_it(self) -> None:
        for text, local in {
            "tcp:8080:interface=127.0.0.1": True,
            "tcp:8080:interface=0.0.0.0": False,
            "tcp:8080:interface=192.0.2.1": False,
            r"tcp6:8080:interface=\:\:": False,
            r"tcp6:8080:interface=\:\:1": True,
            "unix:/run/sessioncore/web": True,
        }.items():
            endpoint = parse_endpoint("--dashboard", text)
            self.assertEqual((endpoint.description, endpoint.is_local), (text, local))

    def test_what_is_wrong(self) -> None:
        for text, says in {
            "8080": "'8080' is not an endpoint; write for example tcp:8080:interface=127.0.0.1",
            "": "'' is not an endpoint",
            "udp:8080": "of another kind than tcp, tcp6, ssl and unix",
            "systemd:domain=INET:index=0": "of another kind",
            "tcp:http": "'http' in 'tcp:http:interface=127.0.0.1' is not a port",
            "tcp:65536": "'65536' in",
            "tcp:1_0": "'1_0' in",
            "tcp:\u0661": "is not a port",
            "tcp:8080:interface=localhost": "interface=localhost in",
            "tcp:8080:colour=red": "is not a usable endpoint",
        }.items():
            with self.assertRaises(ConfigurationError) as caught:
                parse_endpoint("--dashboard", text)
            message = str(caught.exception)
            self.assertTrue(message.startswith("--dashboard: "), message)
            self.assertIn(says, message)
            self.assertNotIn("\n", message)

    def test_tls(self) -> None:
        # A key that is missing, or the library that would read it.
        with self.assertRaisesRegex(ConfigurationError, "is not a usable|twisted.tls"):
            parse_endpoint("--dashboard", "ssl:8443:privateKey=missing.pem")

    def test_elsewhere_a_token_is_needed(self) -> None:
        everywhere = parse_endpoint("--metrics", "tcp:8080:interface=0.0.0.0")
        with self.assertRaisesRegex(ConfigurationError, "--metrics: other machines can reach"):
            WebPlan("--metrics", everywhere, False)
        WebPlan("--metrics", everywhere, False, "0123456789abcdef")

    def test_a_port_in_use(self) -> None:
        endpoint = parse_endpoint("--dashboard", "tcp:8080")
        error = CannotListenError("127.0.0.1", 8080, OSError(98, "Address already in use"))
        self.assertEqual(
            str(cannot_listen("--dashboard", endpoint, error)),
            "--dashboard: cannot listen on tcp:8080:interface=127.0.0.1: Address already in use;"
            " name a port that is free and an address of this machine",
        )
