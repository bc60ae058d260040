"""The testing kit as pytest fixtures; needs the extra ``pytest``.

In the top ``conftest.py``:

    pytest_plugins = ["sessioncore.testing.pytest_fixtures"]

Then a test takes what it needs as arguments: ``sip_network``, ``leg_pair``, ``media_peer`` or
``fault_scene``.  What a test leaves open is closed after it.  An error of a test has the seed as a
note; the seed is 0, or that of a mark: ``@pytest.mark.sip_seed(7)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sessioncore.testing.faults import FaultScene
from sessioncore.testing.media_peer import MediaPeer
from sessioncore.testing.network import FakeNetwork
from sessioncore.testing.pair import LegPair

__all__ = ["fault_scene", "leg_pair", "media_peer", "pytest_configure", "sip_network", "sip_seed"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "sip_seed(seed): the seed of the in-memory network")


@pytest.fixture
def sip_seed(request: pytest.FixtureRequest) -> int:
    """The seed of the test: that of its mark ``sip_seed``, or 0."""
    mark = request.node.get_closest_marker("sip_seed")
    return 0 if mark is None else int(mark.args[0])


@pytest.fixture
def sip_network(sip_seed: int) -> FakeNetwork:
    """An in-memory network."""
    return FakeNetwork(sip_seed)


@pytest.fixture
def leg_pair(sip_network: FakeNetwork) -> Iterator[LegPair]:
    """A caller and a callee on ``sip_network``, closed after the test."""
    pair = LegPair(network=sip_network)
    yield pair
    pair.close()


@pytest.fixture
def media_peer(sip_network: FakeNetwork, sip_seed: int) -> Iterator[MediaPeer]:
    """A peer at 192.0.2.9 on ``sip_network`` that does what the test tells it."""
    peer = MediaPeer(sip_network.host("192.0.2.9", "198.51.100.9"), seed=sip_seed)
    peer.elsewhere = "198.51.100.9"
    yield peer
    peer.media.stop()


@pytest.fixture
def fault_scene(sip_seed: int) -> Iterator[Callable[..., FaultScene]]:
    """Makes a `FaultScene` of the name of a cause, and closes all of them after the test."""
    with ExitStack() as scenes:

        def make(name: str, **given: Any) -> FaultScene:
            return scenes.enter_context(FaultScene(name, seed=sip_seed, **given))

        yield make
