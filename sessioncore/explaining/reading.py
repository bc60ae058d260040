"""Reads a file of any known kind: a description, messages, a trace, a capture.

`READERS` is the table of kinds; a new kind of file is a new row.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from sessioncore.errors import UnreadableInput
from sessioncore.explaining.capture_file import Capture, is_capture
from sessioncore.explaining.packets import Datagram, Packet, Packets, Segment, Unreachable
from sessioncore.explaining.seen import Seen
from sessioncore.explaining.sightings import Sighting, looks_like_sip, messages_in
from sessioncore.explaining.tcp_streams import TcpStreams
from sessioncore.explaining.trace_text import is_trace, traced_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["READERS", "Reader", "Sorting", "read_file", "read_stream"]

_HEAD: Final = 65_536
_MAX_TEXT: Final = 16 * 1024 * 1024
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DESCRIPTION: Final = re.compile(rb"v=[0-9]+[ \t]*\r?\n")
_SIPS_PORT: Final = 5061


class Reader(NamedTuple):
    """One kind of file: its name, whether a beginning is one, and the function that reads it."""

    kind: str
    fits: Callable[[bytes], bool]
    read: Callable[[BinaryIO, bytes], Seen]


def read_file(name: str) -> Seen:
    """What the file ``name`` holds; ``-`` is standard input.

    Raises `UnreadableInput` if nothing in it can be read.
    """
    try:
        with _opened(name) as stream:
            return read_stream(stream, "standard input" if name == "-" else name)
    except OSError as error:
        raise UnreadableInput(f"{name} cannot be read: {error.strerror}") from None


def read_stream(stream: BinaryIO, name: str) -> Seen:
    """What ``stream`` holds; ``name`` is for the texts of errors."""
    head = stream.read(_HEAD)
    if not head:
        raise UnreadableInput(f"{name} is empty")
    for reader in READERS:
        if reader.fits(head):
            try:
                return reader.read(stream, head).finish()
            except UnreadableInput as error:
                raise UnreadableInput(f"{name}: {error}") from None
    if head.startswith(b"\x1f\x8b"):
        raise UnreadableInput(f"{name} is compressed; unpack it with gunzip first")
    raise UnreadableInput(
        f"{name} is neither a session description, nor SIP messages, nor a capture (pcap, pcapng)"
    )


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with open(name, "rb") as stream:
            yield stream


def _text(stream: BinaryIO, head: bytes) -> bytes:
    text = head + stream.read(_MAX_TEXT + 1 - len(head))
    if len(text) > _MAX_TEXT:
        raise UnreadableInput("a text of more than 16 MiB; cut it into smaller ones")
    return text


# --- a description


def _is_description(head: bytes) -> bool:
    return _DESCRIPTION.match(head.removeprefix(_BYTE_ORDER_MARK).lstrip()) is not None


def _read_description(stream: BinaryIO, head: bytes) -> Seen:
    return Seen("a session description", descriptions=[_text(stream, head)])


# --- messages


def _has_messages(head: bytes) -> bool:
    return next(messages_in(head), None) is not None


def _read_messages(stream: BinaryIO, head: bytes) -> Seen:
    seen = Seen("SIP messages")
    for sighting in messages_in(_text(stream, head).removeprefix(_BYTE_ORDER_MARK)):
        seen.add(sighting)
    return seen


def _read_trace(stream: BinaryIO, head: bytes) -> Seen:
    seen = Seen("a trace of SIP messages")
    for sighting in traced_messages(_text(stream, head)):
        seen.add(sighting)
        seen.last_at = sighting.at
    return seen


# --- a capture


def _read_capture(stream: BinaryIO, head: bytes) -> Seen:
    capture, packets = Capture(stream, head), Packets()
    sorting = Sorting(Seen("a capture", is_capture=True))
    for frame in capture:
        packet = packets.read(frame)
        if packet is not None:
            sorting.take(packet)
        sorting.seen.last_at = frame.at
    if capture.count and packets.unknown_links.total() == capture.count:
        kinds = ", ".join(map(str, sorted(packets.unknown_links)[:8]))
        raise UnreadableInput(
            f"its packets are of link type {kinds}, which is not known; known are Ethernet, Linux"
            " cooked, raw IP and loopback"
        )
    sorting.seen.kind = f"a capture of {capture.count:,} packets"
    sorting.seen.remarks += _remarks(capture, packets, sorting)
    return sorting.seen


class Sorting:
    """Sorts packets into ``seen``: SIP is kept, RTP is counted, the rest is ignored."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.tcp = TcpStreams()
        self.encrypted = 0

    def take(self, packet: Packet) -> None:
        """Sort one packet."""
        self.seen.last_at = packet.at
        if isinstance(packet, Datagram):
            self._take_datagram(packet)
        elif isinstance(packet, Segment):
            self._take_segment(packet)
        elif isinstance(packet, Unreachable):
            self.seen.add_unreachable(packet.target)

    def _take_datagram(self, packet: Datagram) -> None:
        at, source, destination, data, whole = packet
        if not self.seen.rtp.read(at, source, destination, data) and looks_like_sip(data):
            self.seen.add(Sighting(data, at, source, destination, "udp", whole))

    def _take_segment(self, packet: Segment) -> None:
        if _SIPS_PORT in (packet.source[1], packet.destination[1]):
            self.encrypted += 1
        for data in self.tcp.read(packet):
            self.seen.add(Sighting(data, packet.at, packet.source, packet.destination, "tcp"))


def _remarks(capture: Capture, packets: Packets, sorting: Sorting) -> list[str]:
    """What was not read of a capture, and why."""
    counted = (
        (packets.unknown_links.total(), "packets of an unknown link type were left out"),
        (packets.cut, "packets were not captured as a whole; capture with a larger snaplen (-s 0)"),
        (packets.fragments.lost, "fragmented datagrams could not be put together"),
        (len(packets.fragments), "fragmented datagrams are not complete"),
        (sorting.tcp.holes, "TCP streams with SIP have holes, after which messages are missing"),
        (sorting.encrypted, "segments on port 5061 are probably TLS, which cannot be read"),
    )
    remarks = [f"{count:,} {text}" for count, text in counted if count]
    return [capture.problem, *remarks] if capture.problem else remarks


READERS: Final[tuple[Reader, ...]] = (
    Reader("capture", is_capture, _read_capture),
    Reader("description", _is_description, _read_description),
    Reader("trace", is_trace, _read_trace),
    Reader("messages", _has_messages, _read_messages),
)
"""The kinds of files, in the order in which they are tried."""
