"""SIP messages as text: a heading with time, direction and addresses, and the message below it.

Text that a peer chose is escaped, and the lines of a message are indented, so that a peer can
neither forge a heading nor send control characters to a terminal.  Secrets are taken out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zope.interface import implementer

from sessioncore.interfaces import IMessageTap
from sessioncore.vocabulary import Address, host_port
from sessioncore.watching.event_log import EventLog, shown, text_line
from sessioncore.watching.messages import Message
from sessioncore.watching.redaction import redacted
from sessioncore.watching.wall_clock import WallClock

__all__ = ["MessageTrace", "TraceText"]


class TraceText:
    """Writes messages, and events between them, as text."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock

    def lines(self, records: Iterable[Any]) -> str:
        """The text of messages and events."""
        return "".join(
            [
                self.message(each) if each.__class__ is Message else text_line(each)
                for each in records
            ]
        )

    def message(self, message: Message) -> str:
        """A heading, the lines of the message, and an empty line."""
        lines = readable(message.data)
        way = "sent" if message.sent else "received"
        heading = (
            f"{self._clock.utc(message.at)} {way} {message.transport}"
            f" {host_port(*message.source)} -> {host_port(*message.destination)},"
            f" {len(message.data)} bytes\n"
        )
        return heading + "".join([f"  {line}\n" if line else "\n" for line in lines]) + "\n"


def readable(data: bytes) -> list[str]:
    """The lines of a message, without secrets, in printable ASCII; escaped where it was not."""
    text = redacted(data).decode("utf-8", "backslashreplace")
    lines = [shown(line.removesuffix("\r")) for line in text.split("\n")]
    while lines and not lines[-1]:
        del lines[-1]
    return lines


@implementer(IMessageTap)
class MessageTrace:
    """A message tap that writes to ``log``, whose lines come from a `TraceText`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def message(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        transport: str,
        sent: bool,
        at: int,
    ) -> None:
        """Take one message."""
        self._log.event(Message(data, source, destination, transport, sent, at))
