"""The two processes of the self-test as hosts of the in-memory network."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.python.failure import Failure

from sessioncore.diagnosis.party import Party
from sessioncore.testing.network import FakeNetwork

__all__ = ["Processes"]


class Processes:
    """Stands in for a reactor: what it spawns is a `Party` on a host of its own."""

    def __init__(self, network: FakeNetwork, spoil: Any = lambda record: record) -> None:
        self.network = network
        self.spawned: list[_Process] = []
        self.spoil = spoil
        """What is made of each record before it is told; None swallows it."""
        self._host = network.host("198.51.100.1")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def spawnProcess(self, protocol: Any, _executable: str, arguments: Any, env: Any) -> None:
        address = f"192.0.2.{len(self.spawned) + 1}"
        process = _Process(protocol, self.network.host(address), address, self)
        self.spawned.append(process)
        protocol.makeConnection(process)


class _Process:
    """A process, and the transport of its protocol."""

    def __init__(self, protocol: Any, host: Any, address: str, owner: Processes) -> None:
        self._address = address
        self._protocol = protocol
        self._party = Party(host, self._tell)
        self._owner = owner
        self.ended = False
        self.orders: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        for line in data.splitlines():
            order = json.loads(line)
            self.orders.append(order)
            self._party.take(order)

    def _tell(self, record: dict[str, Any]) -> None:
        if "listening" in record:  # on all addresses, as cases for this network say
            record = {**record, "listening": [self._address, record["listening"][1]]}
        record = self._owner.spoil(record)
        if record is not None and not self.ended:
            data = json.dumps(record).encode() + b"\n"
            # In pieces, as from a pipe.
            self._protocol.outReceived(data[:7])
            self._protocol.outReceived(data[7:])

    def closeStdin(self) -> None:
        self.die()

    def die(self, complaint: bytes = b"") -> None:
        if not self.ended:
            self.ended = True
            self._protocol.errReceived(complaint)
            self._protocol.processEnded(Failure(ProcessDone(None)))
