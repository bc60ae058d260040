"""Every error of the library in one tree.

``status`` is the SIP status that answers the request that caused the error, or None if there
is no request to answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from sessioncore.vocabulary import EndReason

__all__ = [
    "AnswerRefused",
    "CallFailed",
    "CallOver",
    "ConfigurationError",
    "MediaFileError",
    "ModificationRefused",
    "NegotiationError",
    "NoPortsError",
    "OneWayByAgreement",
    "RtpParseError",
    "SdpParseError",
    "SessionCoreError",
    "SipParseError",
    "TooManyCalls",
    "UnexpectedInput",
    "UnreachableTarget",
    "UnreadableInput",
]


class SessionCoreError(Exception):
    """The base class of all errors."""

    status: int | None = None


class SipParseError(SessionCoreError):
    """Bytes that are not a SIP message, or a header value that RFC 3261 does not allow.

    ``request`` is a `sessioncore.sip.message.Request` with the parts that could be read, if
    they suffice to answer it; otherwise None.
    """

    request: Any = None

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class SdpParseError(SessionCoreError):
    """Bytes that are not an RFC 8866 session description."""

    status: int | None = 400


class NegotiationError(SessionCoreError):
    """An offer or answer that we cannot accept; ``reasons`` says why, format by format.

    ``warning_code`` is the closest code of RFC 3261 section 20.43 (304: media type,
    305: format, 301: address, 399: anything else).  ``port_zero``: whether the peer refuses audio
    by port 0 (RFC 3264 section 6).
    """

    status: int | None = 488

    def __init__(
        self,
        text: str,
        reasons: tuple[str, ...] = (),
        warning_code: int = 399,
        port_zero: bool = False,
    ) -> None:
        super().__init__(text)
        self.reasons = reasons
        self.warning_code = warning_code
        self.port_zero = port_zero

    @property
    def warning(self) -> str:
        """The reasons as the quoted text of a Warning header: ASCII, at most 160 characters."""
        text = "; ".join(self.reasons) or str(self)
        safe = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)
        return safe if len(safe) <= 160 else safe[:157] + "..."


class AnswerRefused(NegotiationError):
    """An answer that breaks RFC 3264 or shares no format with our offer.

    SIP cannot refuse an answer, so the call ends with BYE.
    """

    status: int | None = None


class RtpParseError(SessionCoreError):
    """Bytes that are not an RTP or RTCP packet."""


class ConfigurationError(SessionCoreError):
    """An option, URI, argument or setting that is not usable; the text says what to do instead."""


class MediaFileError(ConfigurationError):
    """A WAV file that is missing, broken or in an unsupported format."""


class UnreadableInput(ConfigurationError):
    """A file that cannot be explained: missing, empty, broken, or of a kind that is not known."""


class NoPortsError(SessionCoreError):
    """All RTP ports of the configured range are in use."""

    status: int | None = 503


class UnreachableTarget(SessionCoreError):
    """None of our sockets and connections reaches the target of a request."""

    status: int | None = 503


class TooManyCalls(SessionCoreError):
    """The limit on concurrent calls is reached."""

    status: int | None = 503


class UnexpectedInput(SessionCoreError):
    """A machine got an input that its table rules out; names the table, state and input."""

    def __init__(self, table: str, state: object, given: object) -> None:
        super().__init__(f"{table}: {type(given).__name__} in state {state} is not in the table")
        self.table = table
        self.state = state
        self.given = given


class CallFailed(SessionCoreError):
    """A call ended before the awaited milestone; ``reason`` is its `EndReason`."""

    kind: ClassVar[str] = "call failed"

    def __init__(self, reason: EndReason) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.status = reason.status


class CallOver(SessionCoreError):
    """The call is over, or past the point at which the requested action is possible."""


class ModificationRefused(SessionCoreError):
    """A change to a call was refused; the call goes on unchanged.  ``reason`` says why."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.status = reason.status


class OneWayByAgreement(SessionCoreError):
    """Audio both ways cannot come: the two sides agreed on one direction or none."""
