"""The settings of a `SessionManager`, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address, ip_network
from typing import Any, Final

from attrs import field, frozen

from sessioncore.errors import ConfigurationError
from sessioncore.rtp.audio_codec import PACKET_LENGTHS, AudioCodec
from sessioncore.rtp.codecs import CODECS

__all__ = ["Settings", "require_seconds"]

_EXAMPLE: Final = "192.0.2.1"
_LONGEST: Final = 86_400
"""Seconds in a day."""


def _product() -> str:
    try:
        return f"sessioncore/{version('sessioncore')}"
    except PackageNotFoundError:
        return "sessioncore"


def _given(kinds: tuple[type, ...], say: str) -> Callable[[object, Any, object], None]:
    """A check that a value is of one of ``kinds``; a bool does not count as a number."""

    def check(_settings: object, attribute: Any, value: object) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ConfigurationError(f"{attribute.name}: {value!r} is not usable; give {say}")

    return check


def _each_given(say: str) -> Callable[[object, Any, object], None]:
    """A check that a value is one or more pieces of text."""

    def check(_settings: object, attribute: Any, value: object) -> None:
        if (
            not isinstance(value, tuple | list)
            or not value
            or not all(isinstance(each, str) for each in value)
        ):
            raise ConfigurationError(f"{attribute.name}: {value!r} is not usable; give {say}")

    return check


def _ip_literal(_settings: object, attribute: object, value: str | None) -> None:
    if value is None:
        return
    name = getattr(attribute, "name", "address")
    try:
        address = ip_address(value)
    except ValueError:
        raise ConfigurationError(
            f"{name}: {value!r} is not an IP address; give for example {_EXAMPLE}"
        ) from None
    if address.is_unspecified or address.is_multicast:
        raise ConfigurationError(
            f"{name}: {value} is not the address of one host; give for example {_EXAMPLE}"
        )


def _port_range(_settings: object, _attribute: object, value: tuple[int, int]) -> None:
    if len(value) != 2 or not all(isinstance(port, int) for port in value):
        raise ConfigurationError(
            f"rtp_ports: {value!r} is not usable; give first and last, for example (40000, 49999)"
        )
    first, last = value
    if not 1024 <= first < last <= 65535:
        raise ConfigurationError(
            f"rtp_ports: {first}-{last} is not usable; give at least two ports in 1024-65535,"
            " for example 40000-49999"
        )
    if first + first % 2 == last:
        raise ConfigurationError(
            f"rtp_ports: {first}-{last} is not usable: RTP takes an even port and RTCP the next"
            f" one; give for example {first - 1}-{last + 1}"
        )


def _packet_length(_settings: object, _attribute: object, value: object) -> None:
    if isinstance(value, bool) or value not in PACKET_LENGTHS:
        raise ConfigurationError(
            f"ptime: {value!r} is not usable; give {', '.join(map(str, PACKET_LENGTHS[:-1]))} or"
            f" {PACKET_LENGTHS[-1]} ms"
        )


def _networks(_settings: object, _attribute: object, value: object) -> None:
    if not isinstance(value, tuple | list) or not all(isinstance(each, str) for each in value):
        raise ConfigurationError(
            f"trusted_sources: {value!r} is not usable; give a tuple of networks, for example"
            ' ("192.0.2.0/24",)'
        )
    for each in value:
        try:
            ip_network(each)
        except ValueError as error:
            raise ConfigurationError(
                f"trusted_sources: {error}; give networks such as 192.0.2.0/24"
            ) from None


def _usable_codecs(_settings: object, _attribute: object, value: object) -> None:
    if not isinstance(value, tuple | list) or not all(
        isinstance(each, str | AudioCodec) for each in value
    ):
        raise ConfigurationError(
            f'codecs: {value!r} is not usable; give a tuple of names, for example ("PCMU",)'
        )
    unknown = [each for each in value if isinstance(each, str) and each not in CODECS]
    if unknown or not value:
        raise ConfigurationError(
            f"codecs: {', '.join(unknown) or 'none'} cannot be used; choose from"
            f" {', '.join(CODECS)}"
        )
    numbers: dict[int, AudioCodec] = {}
    for codec in map(_codec, value):
        codec.require()
        other = numbers.setdefault(codec.payload_type, codec)
        if other is not codec:
            raise ConfigurationError(
                f"codecs: {other} and {codec} both propose payload type {codec.payload_type};"
                " give one of them another, from 96 to 127"
            )


def _codec(given: str | AudioCodec) -> AudioCodec:
    return CODECS[given] if isinstance(given, str) else given


def _positive(_settings: object, attribute: object, value: int) -> None:
    if value < 1:
        name = getattr(attribute, "name", "value")
        raise ConfigurationError(f"{name}: {value} is too few; give 1 or more")


def require_seconds(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless ``value`` is a number of seconds, up to a day."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name}: {value!r} is not usable; give a number of seconds")
    if not 0 < value <= _LONGEST:
        raise ConfigurationError(
            f"{name}: {value:g} s is out of range; give more than 0 and at most {_LONGEST} s"
        )


def _some_seconds(_settings: object, attribute: Any, value: object) -> None:
    require_seconds(attribute.name, value)


def _seconds_or_never(_settings: object, attribute: Any, value: object) -> None:
    if value != 0 or isinstance(value, bool):
        require_seconds(attribute.name, value)


def _printable(_settings: object, attribute: Any, value: str) -> None:
    if not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"{attribute.name}: {value!r} is not usable; give plain ASCII")


_A_PAIR: Final = "a pair of ports, for example (40000, 49999)"
_AN_IP: Final = f'an IP address as a string, for example "{_EXAMPLE}"'


@frozen
class Settings:
    """Listening sockets, advertised addresses, codecs and limits of a `SessionManager`.

    ``listen``: SIP sockets such as ``udp:5060:interface=127.0.0.1``.  ``advertise``: the IP
    that Contact and Via name instead of the local one.  ``media_ip``: the IP that ``c=`` names
    instead of the local one.  ``rtp_ports``: first and last port, inclusive.  ``codecs``:
    RFC 3551 names or `AudioCodec` objects, preferred first.  ``nat``: True treats every peer as
    behind a NAT, False none; None (the default) treats a peer as behind a NAT if its SDP
    address differs from its SIP source, or for requests, if the address in its Contact cannot
    work from outside.  ``ptime``: the packet length in ms that we ask peers for, 20, 40 or 60.
    ``max_calls``: calls at the same time.
    ``ring_limit``: seconds that a call may ring, in either role.  ``peer_timeout``: seconds
    without RTP and RTCP after which the peer of a call is asked whether it is still there; 0
    is never.  ``trusted_sources``: networks
    such as ``192.0.2.0/24`` whose calls get a place even if strangers send too many.
    Raises `ConfigurationError` for a value that is not usable.
    """

    listen: tuple[str, ...] = field(
        default=("udp:5060",),
        validator=_each_given('a tuple of strings, for example ("udp:5060",)'),
    )
    advertise: str | None = field(
        default=None, validator=[_given((str, type(None)), _AN_IP), _ip_literal]
    )
    media_ip: str | None = field(
        default=None, validator=[_given((str, type(None)), _AN_IP), _ip_literal]
    )
    rtp_ports: tuple[int, int] = field(
        default=(40000, 49999), validator=[_given((tuple, list), _A_PAIR), _port_range]
    )
    codecs: tuple[str | AudioCodec, ...] = field(default=("PCMU", "PCMA"), validator=_usable_codecs)
    ptime: int = field(default=20, validator=_packet_length)
    max_calls: int = field(default=2000, validator=[_given((int,), "a number"), _positive])
    ring_limit: float = field(default=180.0, validator=_some_seconds)
    peer_timeout: float = field(default=30.0, validator=_seconds_or_never)
    trusted_sources: tuple[str, ...] = field(default=(), validator=_networks)
    nat: bool | None = field(
        default=None, validator=_given((bool, type(None)), "True, False or None")
    )
    user_agent: str = field(factory=_product, validator=[_given((str,), "text"), _printable])

    @property
    def codec_list(self) -> tuple[AudioCodec, ...]:
        """The codecs as values."""
        return tuple(_codec(each) for each in self.codecs)
