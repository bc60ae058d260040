"""What a call can be followed by: the places that datagrams, machines and dialogs pass."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from sessioncore.sip.dialog import Dialog
from sessioncore.sip.transaction import ClientTransaction, ServerTransaction
from sessioncore.table import Machine
from sessioncore.vocabulary import Address

__all__ = ["Tracer"]


class Tracer(Protocol):
    """Is told of what happens below the events, in order.  Costs nothing where there is none."""

    def datagram(self, data: bytes, source: Address, now: int) -> None:
        """A SIP datagram arrived; nothing has looked at it yet."""

    def transaction(self, tx: ServerTransaction | ClientTransaction) -> None:
        """A transaction began; retransmissions do not come here."""

    def dialog(self, dialog: Dialog) -> None:
        """A dialog began."""

    def step(self, machine: Machine, old: Enum, given: object, new: Enum) -> None:
        """A machine took a step (`sessioncore.table.Trace`)."""
