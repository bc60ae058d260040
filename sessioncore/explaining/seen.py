"""What a file holds: descriptions, messages, RTP, and what could not be read of it."""

from __future__ import annotations

from collections import Counter
from typing import Final

from attrs import define, field

from sessioncore.explaining.rtp_streams import RtpStreams
from sessioncore.explaining.sightings import Sighting
from sessioncore.vocabulary import Address

__all__ = ["Seen"]

MAX_MESSAGES: Final = 50_000
MAX_OCTETS: Final = 64 * 1024 * 1024
_MAX_UNREACHABLE: Final = 10_000


@define(eq=False)
class Seen:
    """The content of one file, from whatever reader.

    ``kind`` says what the file is, for people.  ``is_capture`` says that RTP should be in it, too.
    ``remarks`` say what was left out and why.
    """

    kind: str
    is_capture: bool = False
    descriptions: list[bytes] = field(factory=list)
    sightings: list[Sighting] = field(factory=list)
    rtp: RtpStreams = field(factory=RtpStreams)
    unreachable: Counter[Address] = field(factory=Counter)
    """How often ICMP said that nobody receives at an address."""
    last_at: int = 0
    """The time of the last packet, in ns."""
    remarks: list[str] = field(factory=list)
    _octets: int = 0
    _left_out: int = 0

    def add(self, sighting: Sighting) -> None:
        """Keep a message, unless there are too many."""
        if len(self.sightings) >= MAX_MESSAGES or self._octets >= MAX_OCTETS:
            self._left_out += 1
            return
        self._octets += len(sighting.raw)
        self.sightings.append(sighting)

    def add_unreachable(self, target: Address) -> None:
        """Count what ICMP said about an address."""
        if target in self.unreachable or len(self.unreachable) < _MAX_UNREACHABLE:
            self.unreachable[target] += 1

    def finish(self) -> Seen:
        """Add what only the end shows to the remarks."""
        if self._left_out:
            self.remarks.append(
                f"{self._left_out:,} SIP messages beyond the first {len(self.sightings):,} were"
                " left out; cut the capture into smaller ones"
            )
        if self.rtp.turned_away:
            self.remarks.append(
                f"{self.rtp.turned_away:,} RTP packets of streams beyond the first"
                f" {len(self.rtp.streams):,} were left out; cut the capture into smaller ones"
            )
        return self
