"""The four transaction machines of RFC 3261 section 17, with the corrections of RFC 6026.

Each side has its own module, `sessioncore.sip.client` and `sessioncore.sip.server`.  Inputs,
effects and timers are in ``steps``, the interfaces of users and keepers in ``roles``.  A
transaction knows its request, its flow and its address; its keeper, the transaction layer in
`sessioncore.sip.matching`, does the rest.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from sessioncore.sip import roles
from sessioncore.sip.client import (
    CLIENT_INVITE,
    CLIENT_OTHER,
    ClientTransaction,
    InviteClientTransaction,
    OtherClientTransaction,
)
from sessioncore.sip.flows import Flow
from sessioncore.sip.server import (
    SERVER_INVITE,
    SERVER_OTHER,
    ServerTransaction,
)
from sessioncore.sip.steps import GIVE_UP, T1, T2, T4

__all__ = [
    "CLIENT_INVITE",
    "CLIENT_OTHER",
    "GIVE_UP",
    "SERVER_INVITE",
    "SERVER_OTHER",
    "T1",
    "T2",
    "T4",
    "TABLES",
    "ClientTransaction",
    "ClientUser",
    "Flow",
    "InviteClientTransaction",
    "OtherClientTransaction",
    "ServerTransaction",
    "TransactionUser",
]

ClientUser: TypeAlias = roles.ClientUser[ClientTransaction]
TransactionUser: TypeAlias = roles.TransactionUser[ServerTransaction]

TABLES: Final = (CLIENT_INVITE, CLIENT_OTHER, SERVER_INVITE, SERVER_OTHER)
"""All four tables, for diagrams and checks."""
