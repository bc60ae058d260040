"""Every event an embedder, the command line, a log or a test can see.

All are frozen and in the past tense.  ``session`` is our own id of the leg, ``at`` is in
monotonic nanoseconds, ``media_state`` is the state in the moment of the event.

Ten or so are made for each call, and without slots a frozen one is made in less time.
"""

from __future__ import annotations

from attrs import frozen

from sessioncore.vocabulary import Address, EndReason, MediaState, NegotiatedMedia, SessionRole

__all__ = [
    "AckReceived",
    "AckSent",
    "CallAccepted",
    "CallAnswered",
    "CallEnded",
    "CallFailed",
    "CallHeld",
    "CallInitiated",
    "CallResumed",
    "CallRinging",
    "DialogEstablished",
    "DigitReceived",
    "EarlyMediaStarted",
    "Event",
    "IncomingCall",
    "MediaActive",
    "MediaFailed",
    "MediaFlowEstablished",
    "MediaNegotiated",
    "MediaPathProblem",
    "MediaStalled",
    "OfferRefused",
    "OutgoingCallPrepared",
    "TransferRequested",
]


@frozen(slots=False)
class Event:
    """What all events carry."""

    session: str
    call_id: str
    role: SessionRole
    media_state: MediaState
    at: int

    @property
    def name(self) -> str:
        """The event's name as the event line and the JSON lines print it."""
        return type(self).__name__


@frozen(slots=False)
class OutgoingCallPrepared(Event):
    """UAC: the call exists; nothing has been opened or sent for it yet."""

    remote_uri: str


@frozen(slots=False)
class CallInitiated(Event):
    """UAC: the INVITE was written."""

    remote_uri: str


@frozen(slots=False)
class IncomingCall(Event):
    """UAS: an INVITE arrived.

    Where it cannot be served, `CallFailed` follows at once and no application is asked.
    """

    remote_uri: str
    local_uri: str


@frozen(slots=False)
class CallRinging(Event):
    """UAS: a 180 was written; UAC: a 180 (or 183 without SDP) was read."""

    status: int


@frozen(slots=False)
class EarlyMediaStarted(Event):
    """SDP in a provisional response agreed on media before the answer.  Once per call."""


@frozen(slots=False)
class CallAccepted(Event):
    """UAS: the application decided to answer."""


@frozen(slots=False)
class CallAnswered(Event):
    """The first 200 OK was written (UAS) or read (UAC).  Once per call."""


@frozen(slots=False)
class MediaNegotiated(Event):
    """The second description of an offer/answer exchange was sent or received."""

    media: NegotiatedMedia


@frozen(slots=False)
class MediaFlowEstablished(Event):
    """`establish_media_flow` has run: open for receiving, sending as agreed."""

    local: Address
    remote: Address | None


@frozen(slots=False)
class AckSent(Event):
    """UAC: the ACK of the 200 OK was written."""


@frozen(slots=False)
class AckReceived(Event):
    """UAS: the ACK of the 200 OK was read."""


@frozen(slots=False)
class DialogEstablished(Event):
    """The dialog is confirmed: UAC with the ACK it wrote, UAS with the ACK it read."""


@frozen(slots=False)
class MediaActive(Event):
    """Media was seen in each direction the agreement allows."""


@frozen(slots=False)
class MediaStalled(Event):
    """Nothing was heard for 5 s where receiving is allowed; ``text`` says what is known of why."""

    text: str


@frozen(slots=False)
class MediaFailed(Event):
    """A source or sink of ours failed and was taken off, e.g. a full disk; the call goes on."""

    text: str


@frozen(slots=False)
class MediaPathProblem(Event):
    """ICMP says that nobody listens where our RTP goes; ``text`` names that address.

    At most once in 5 s.
    """

    text: str


@frozen(slots=False)
class CallHeld(Event):
    """The peer stopped listening to us (sendonly, inactive or 0.0.0.0)."""


@frozen(slots=False)
class CallResumed(Event):
    """The peer listens again."""


@frozen(slots=False)
class OfferRefused(Event):
    """A re-INVITE of the peer's was refused; the call and its media go on unchanged.

    ``reasons`` say why, format by format where it is for the media.
    """

    status: int
    reasons: tuple[str, ...]


@frozen(slots=False)
class DigitReceived(Event):
    """One key (0-9, *, #, A-D) by RFC 4733; ``duration`` in ms.  Once per key press."""

    digit: str
    duration: int


@frozen(slots=False)
class TransferRequested(Event):
    """The peer sent a REFER; it is never followed by itself."""

    target: str


@frozen(slots=False)
class CallEnded(Event):
    """The last event of a call that had been answered."""

    reason: EndReason


@frozen(slots=False)
class CallFailed(Event):
    """The last event of a call that had not been answered."""

    reason: EndReason
