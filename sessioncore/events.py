"""Every event an embedder, the command line, a log or a test can see.

All events are frozen and named in the past tense.  ``session`` is our own id of the leg,
``at`` is in monotonic nanoseconds, ``media_state`` is the media state at the time of the event.

Each call makes about ten events.  They have no slots, because a frozen class without slots is
faster to instantiate.
"""

from __future__ import annotations

from attrs import frozen

from sessioncore.verdict import Verdict
from sessioncore.vocabulary import Address, EndReason, MediaState, NegotiatedMedia, SessionRole

__all__ = [
    "AckReceived",
    "AckSent",
    "AnswerChanged",
    "AnswerRepeated",
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
    "OfferUnanswered",
    "OutgoingCallPrepared",
    "TransferRequested",
    "VerdictChanged",
]


@frozen(slots=False)
class Event:
    """The attributes of all events."""

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

    If it cannot be served, `CallFailed` follows at once and the application is not asked.
    """

    remote_uri: str
    local_uri: str


@frozen(slots=False)
class CallRinging(Event):
    """UAS: a 180 was written; UAC: a 180 (or 183 without SDP) was read."""

    status: int


@frozen(slots=False)
class EarlyMediaStarted(Event):
    """SDP in a provisional response set up media before the call was answered.  Once per call."""


@frozen(slots=False)
class CallAccepted(Event):
    """UAS: the application decided to answer."""


@frozen(slots=False)
class CallAnswered(Event):
    """The first 200 OK was written (UAS) or read (UAC).  Once per call."""


@frozen(slots=False)
class AnswerChanged(Event):
    """UAC: a 200 OK, or another 183, describes other media than the 183 before; the newest counts.

    `MediaNegotiated` and `MediaFlowEstablished` follow with the new agreement.
    """


@frozen(slots=False)
class AnswerRepeated(Event):
    """The peer repeated its 200 OK, so our ACK reaches it late or not at all.  Once per INVITE.

    If no ACK reaches it, the peer ends the call after 32 s.
    """


@frozen(slots=False)
class MediaNegotiated(Event):
    """The second description of an offer/answer exchange was sent or received."""

    media: NegotiatedMedia


@frozen(slots=False)
class MediaFlowEstablished(Event):
    """`establish_media_flow` has run: the stream receives, and sends if that was agreed."""

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
    """No packet came for 5 s although receiving is allowed; ``text`` gives the likely cause."""

    text: str


@frozen(slots=False)
class MediaFailed(Event):
    """Our source or sink failed (for example a full disk) and was removed; the call goes on."""

    text: str


@frozen(slots=False)
class MediaPathProblem(Event):
    """ICMP reports that nothing listens at the address our RTP goes to; ``text`` names it.

    Emitted again after 5 s at the earliest, then after 10, 20 and up to 320 s.
    """

    text: str


@frozen(slots=False)
class VerdictChanged(Event):
    """There is new evidence on the audio of the call, and the judgement is another than before."""

    verdict: Verdict


@frozen(slots=False)
class CallHeld(Event):
    """The peer stopped listening to us (sendonly, inactive or 0.0.0.0)."""


@frozen(slots=False)
class CallResumed(Event):
    """The peer listens again."""


@frozen(slots=False)
class OfferRefused(Event):
    """A re-INVITE from the peer was refused; the call and its media go on unchanged.

    ``reasons`` say why; for media, format by format.
    """

    status: int
    reasons: tuple[str, ...]


@frozen(slots=False)
class OfferUnanswered(Event):
    """Our 200 OK had an offer, but its ACK no answer; the agreement stays as it was.

    This happens after a re-INVITE without a description.
    """


@frozen(slots=False)
class DigitReceived(Event):
    """The peer pressed one key (0-9, *, #, A-D; RFC 4733).  ``duration`` is in ms.

    Emitted once per key press.
    """

    digit: str
    duration: int


@frozen(slots=False)
class TransferRequested(Event):
    """The peer sent a REFER; it is never followed automatically."""

    target: str


@frozen(slots=False)
class CallEnded(Event):
    """The last event of a call that had been answered."""

    reason: EndReason


@frozen(slots=False)
class CallFailed(Event):
    """The last event of a call that had not been answered."""

    reason: EndReason
