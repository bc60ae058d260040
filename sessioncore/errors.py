"""Every error of the library in one tree.

``status`` is the SIP status a request that caused the error is answered with, or None where
no answer is due.
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
]


class SessionCoreError(Exception):
    """Root of the tree."""

    status: int | None = None


class SipParseError(SessionCoreError):
    """Bytes that are no SIP message, or a header value that RFC 3261 does not allow.

    ``request`` is the `sessioncore.sip.message.Request` that can still be answered, as far as
    it could be read, or None.
    """

    request: Any = None

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class SdpParseError(SessionCoreError):
    """Bytes that are no RFC 8866 session description."""

    status: int | None = 400


class NegotiationError(SessionCoreError):
    """An offer or answer we cannot agree to; ``reasons`` says why, format by format.

    ``warning_code`` is the code of RFC 3261 section 20.43 that fits best (304: media type,
    305: format, 301: address, 399: anything else).
    """

    status: int | None = 488

    def __init__(self, text: str, reasons: tuple[str, ...] = (), warning_code: int = 399) -> None:
        super().__init__(text)
        self.reasons = reasons
        self.warning_code = warning_code

    @property
    def warning(self) -> str:
        """The reasons as the quoted text of a Warning header: ASCII, at most 160 characters."""
        text = "; ".join(self.reasons) or str(self)
        safe = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)
        return safe if len(safe) <= 160 else safe[:157] + "..."


class AnswerRefused(NegotiationError):
    """An answer that breaks RFC 3264 or shares nothing with our offer; it cannot be refused
    in SIP any more, so the call ends by BYE.
    """

    status: int | None = None


class RtpParseError(SessionCoreError):
    """Bytes that are no RTP or RTCP packet."""


class ConfigurationError(SessionCoreError):
    """An option, URI or setting that cannot be used; the text says what to do instead."""


class MediaFileError(ConfigurationError):
    """A WAV file that is missing, broken or of a kind we do not read."""


class NoPortsError(SessionCoreError):
    """All RTP ports of the configured range are taken."""

    status: int | None = 503


class UnreachableTarget(SessionCoreError):
    """No socket and no connection of ours reaches where a request should go."""

    status: int | None = 503


class TooManyCalls(SessionCoreError):
    """The limit on concurrent calls is reached."""

    status: int | None = 503


class UnexpectedInput(SessionCoreError):
    """A machine was given an input its table rules out; names table, state and input."""

    def __init__(self, table: str, state: object, given: object) -> None:
        super().__init__(f"{table}: {type(given).__name__} in state {state} is not in the table")
        self.table = table
        self.state = state
        self.given = given


class CallFailed(SessionCoreError):
    """A call ended before what was waited for; ``reason`` is its `EndReason`."""

    kind: ClassVar[str] = "call failed"

    def __init__(self, reason: EndReason) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.status = reason.status


class CallOver(SessionCoreError):
    """Something was asked of a call that is already over, or too late in it."""


class ModificationRefused(SessionCoreError):
    """A change of a call was refused; the call goes on as it was.  ``reason`` says why."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.status = reason.status


class OneWayByAgreement(SessionCoreError):
    """Audio both ways was waited for, but the two sides agreed on one direction or none."""
