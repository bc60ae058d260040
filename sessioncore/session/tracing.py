"""The interface for tracing calls: datagrams, transactions, dialogs and machine steps."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from sessioncore.sip.dialog import Dialog
from sessioncore.sip.transaction import ClientTransaction, ServerTransaction
from sessioncore.table import Machine
from sessioncore.vocabulary import Address

__all__ = ["Tracer"]


class Tracer(Protocol):
    """Is notified of the steps below the events, in order.  Without a tracer it costs nothing."""

    def datagram(self, data: bytes, source: Address, now: int) -> None:
        """A SIP datagram arrived; it has not been parsed yet."""

    def transaction(self, tx: ServerTransaction | ClientTransaction) -> None:
        """A transaction began; not called for retransmissions."""

    def dialog(self, dialog: Dialog) -> None:
        """A dialog began."""

    def step(self, machine: Machine, old: Enum, given: object, new: Enum) -> None:
        """A machine took a step (`sessioncore.table.Trace`)."""
