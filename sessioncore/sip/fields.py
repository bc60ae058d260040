"""The common base of requests and responses: header fields, and typed values read on demand.

RFC 3261 sections 7.3 and 20.  The typed values are attributes of `Message`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.names import CANONICAL, header_key
from sessioncore.sip.values import (
    CSeq,
    NameAddr,
    RawUri,
    Uri,
    Via,
    parse_call_id,
    parse_contact,
    parse_content_type,
    parse_cseq,
    parse_name_addr,
    parse_number,
    parse_route,
    parse_via,
    split_list,
)

__all__ = ["Message", "lazy"]

if TYPE_CHECKING:
    from functools import cached_property as lazy
else:

    class lazy:
        """A typed value: read when first asked for, then an ordinary attribute.

        Before Python 3.12, ``functools.cached_property`` takes a lock for each first read.
        """

        def __init__(self, read):
            self._read = read
            self._name = read.__name__
            self.__doc__ = read.__doc__

        def __get__(self, message, owner):
            if message is None:
                return self
            value = self._read(message)
            setattr(message, self._name, value)
            return value


class Message:
    """The base of requests and responses.

    ``raw`` is the whole datagram.  The typed properties raise `SipParseError` (400) if the
    header field is missing or broken.
    """

    _repeated: Mapping[bytes, list[bytes]] = MappingProxyType({})

    def __init__(self, body: bytes, raw: bytes, firsts: dict[bytes, bytes]) -> None:
        self.body = body
        self.raw = raw
        self._firsts = firsts

    @lazy
    def headers(self) -> list[tuple[bytes, bytes]]:
        """(name, value) in order: known names in their canonical spelling, others as received.

        Values are unfolded, otherwise as received.
        """
        return list(self._firsts.items())

    def first(self, name: bytes) -> bytes | None:
        """The raw value of the first header field of that name, or None."""
        return self._firsts.get(CANONICAL.get(name) or header_key(name))

    def all(self, name: bytes) -> list[bytes]:
        """The raw values of all header fields of that name, in order, not split at commas."""
        key = CANONICAL.get(name) or header_key(name)
        first = self._firsts.get(key)
        if first is None:
            return []
        return list(self._repeated[key]) if key in self._repeated else [first]

    def values(self, name: bytes) -> list[bytes]:
        """All values of that name, split at commas outside quotes and brackets; none is empty."""
        return [item for field in self.all(name) for item in split_list(field) if item]

    def _required(self, name: bytes) -> bytes:
        try:
            return self._firsts[name]
        except KeyError:
            raise SipParseError(f"{name.decode()} is missing") from None

    def _addresses(self, name: bytes) -> list[NameAddr]:
        if name not in self._firsts:
            return []
        read = parse_contact if name == b"Contact" else parse_route
        found = [read(item) for field in self.all(name) for item in _addresses_in(field)]
        if len(found) > grammar.MAX_LIST_ITEMS:
            raise SipParseError(f"too many values of {name.decode()}")
        return found

    @lazy
    def via(self) -> Via:
        """The topmost Via."""
        value = self._required(b"Via")
        if b"," not in value:
            return parse_via(value)
        items = split_list(value)
        if b"" in items:
            raise SipParseError("Via has an empty value")
        return parse_via(items[0])

    @lazy
    def via_count(self) -> int:
        """How many Via values the message has."""
        if b"Via" not in self._repeated and b"," not in self._firsts.get(b"Via", b","):
            return 1
        return sum(len(split_list(field)) for field in self.all(b"Via"))

    @lazy
    def from_(self) -> NameAddr:
        """The From header field."""
        return parse_name_addr(self._required(b"From"))

    @lazy
    def to(self) -> NameAddr:
        """The To header field."""
        return parse_name_addr(self._required(b"To"))

    @lazy
    def from_uri(self) -> Uri | RawUri:
        """The URI of From."""
        return self.from_.uri

    @lazy
    def to_uri(self) -> Uri | RawUri:
        """The URI of To."""
        return self.to.uri

    @lazy
    def from_tag(self) -> bytes | None:
        """The tag of From, or None."""
        return self.from_.params.get(b"tag")

    @lazy
    def to_tag(self) -> bytes | None:
        """The tag of To, or None."""
        return self.to.params.get(b"tag")

    @lazy
    def call_id(self) -> bytes:
        """The Call-ID as received; it is compared byte by byte (RFC 3261 section 20.8)."""
        return parse_call_id(self._required(b"Call-ID"))

    @lazy
    def cseq(self) -> CSeq:
        """The CSeq: number and method."""
        return parse_cseq(self._required(b"CSeq"))

    @lazy
    def contacts(self) -> list[NameAddr]:
        """All Contact values; the URI of ``Contact: *`` is a `RawUri` without a scheme."""
        value = self._firsts.get(b"Contact", b"")
        if value and b"," not in value and b"Contact" not in self._repeated:
            return [parse_contact(value)]
        return self._addresses(b"Contact")

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact value, or None."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @lazy
    def routes(self) -> list[NameAddr]:
        """All Route values, in order."""
        return self._addresses(b"Route")

    @lazy
    def record_routes(self) -> list[NameAddr]:
        """All Record-Route values, in order."""
        return self._addresses(b"Record-Route")

    def _number(self, name: bytes, largest: int = 0xFFFFFFFF) -> int | None:
        value = self._firsts.get(name)
        return None if value is None else parse_number(value, largest)

    @lazy
    def content_length(self) -> int | None:
        """Content-Length in octets, or None if it is missing."""
        return self._number(b"Content-Length")

    @lazy
    def max_forwards(self) -> int | None:
        """Max-Forwards, 0 to 255 (RFC 3261 section 20.22), or None if it is missing."""
        return self._number(b"Max-Forwards", 255)

    @lazy
    def expires(self) -> int | None:
        """Expires in seconds, or None if it is missing."""
        return self._number(b"Expires")

    @lazy
    def content_type(self) -> bytes | None:
        """Content-Type as lower-case ``type/subtype`` without parameters."""
        value = self._firsts.get(b"Content-Type")
        if value is None:
            return None
        return parse_content_type(value)

    @lazy
    def date(self) -> datetime | None:
        """Date (RFC 3261 section 20.17), or None if it is missing."""
        value = self._firsts.get(b"Date")
        if value is None:
            return None
        match = grammar.DATE.fullmatch(value)
        if match is None:
            raise SipParseError("Date is not a SIP date")
        day, month, year, hour, minute, second = match.groups()
        try:
            return datetime(
                int(year),
                1 + _MONTHS.index(month) // 3,
                int(day),
                int(hour),
                int(minute),
                int(second),
                tzinfo=UTC,
            )
        except ValueError as error:
            raise SipParseError(f"Date is not a SIP date: {error}") from None


def _addresses_in(field: bytes) -> list[bytes]:
    """As `split_list`, but a display name without quotes may have commas."""
    items = split_list(field)
    for at in range(len(items) - 2, -1, -1):
        # An address has a colon, so this is the beginning of the next item's display name.
        if items[at] and items[at] != b"*" and b":" not in items[at]:
            items[at : at + 2] = [b"%b, %b" % (items[at], items[at + 1])]
    return items


_MONTHS: Final = b"JanFebMarAprMayJunJulAugSepOctNovDec"
