"""A session with its dialogs, its media and its pending INVITE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import define, field

from sessioncore.deadlines import Deadline
from sessioncore.explanation import Explanation
from sessioncore.sdp.explanation import explain_negotiation
from sessioncore.sdp.negotiation import OfferAnswer
from sessioncore.session.admission import Source
from sessioncore.session.announcing import EventSinks
from sessioncore.session.call import Call, Control
from sessioncore.session.dialog_usage import DialogUsage
from sessioncore.session.invitation import Invitation
from sessioncore.session.media_control import SessionMedia
from sessioncore.session.milestones import Milestones
from sessioncore.session.reasons import unexpected
from sessioncore.session.session import GiveUp, HangUp, Session
from sessioncore.sip.dialog import InitialRequest
from sessioncore.sip.flows import Flow, Target
from sessioncore.sip.message import Request
from sessioncore.sip.transaction import ClientTransaction, ClientUser, ServerTransaction
from sessioncore.verdict import Judgement
from sessioncore.vocabulary import Address, MediaState, NegotiatedMedia, SessionRole

__all__ = ["Effects", "Incoming", "Leg", "Outgoing"]

Effects: TypeAlias = "Mapping[type, Callable[[Leg, Any], None]]"
"""The functions that carry out the effects of the session table, by effect class."""
Header: TypeAlias = tuple[bytes, bytes]


@define(eq=False)
class Incoming:
    """An INVITE from the peer that is not answered yet."""

    server: ServerTransaction
    ring_end: Deadline | None = None


@define(eq=False)
class Outgoing:
    """Our INVITE until its ACK: its target, its transaction, its early dialogs."""

    invitation: Invitation
    origin: InitialRequest
    offer: OfferAnswer
    """The one offer, which each dialog answers for itself (RFC 3261 section 13.2.2.4)."""
    targets: Sequence[Target] = ()
    """The other targets to try (RFC 3263 section 4.3)."""
    flow: Flow | None = None
    contact: bytes = b""
    description: bytes = b""
    client: ClientTransaction | None = None
    """The INVITE; None before it is sent, and between one address and the next."""
    early: dict[bytes, DialogUsage] = field(factory=dict)
    """By To tag."""
    other_forks: ClientUser | None = None
    """Ends the dialogs that other forks create with a 2xx."""
    ring_end: Deadline | None = None
    rung: int = 0
    """Bit n is set once a provisional of status n was announced."""


class Leg(Session):
    """One leg, in either role."""

    local_uri = ""
    remote_uri = ""
    late_offer = False
    source: Source | None = None
    """Of an incoming call without ACK: where its INVITE came from."""
    takes_room = True
    """Whether it counts against the limit on concurrent calls."""
    usage: DialogUsage | None = None
    """Its dialog: the only one of a callee, the confirmed one of a caller."""
    incoming: Incoming | None = None
    outgoing: Outgoing | None = None
    invite: Request | None = None
    """The INVITE of an incoming call, for access to its header fields."""
    sinks: EventSinks | None = None
    """Event sinks of this call alone."""
    answer_repeated = False
    """Whether the peer repeated its 200, so our ACK does not reach it."""
    answer_changed = False
    """Whether the 200 described other media than the 183 before."""
    judgement = Judgement.NOT_YET
    """The last one that was announced."""
    peer_gone = False
    """Whether the leg ends because the peer neither sends media nor answers."""
    reason_headers: tuple[Header, ...] = ()
    """The Reason header field of our CANCEL or BYE (RFC 3326)."""

    def __init__(
        self,
        role: SessionRole,
        name: str,
        call_id: bytes,
        local_tag: bytes,
        effects: Effects,
        control: Control,
    ) -> None:
        super().__init__(role, name, call_id.decode("utf-8", "backslashreplace"))
        self.effects = effects
        self.local_tag = local_tag
        self.media = SessionMedia()
        self.milestones = Milestones()
        self.call = Call(self, control)

    def perform(self, effect: object) -> None:
        """Carry out one effect of the table."""
        try:
            self.effects[effect.__class__](self, effect)
        except Exception as error:
            self.fail(error)
            raise

    def fail(self, error: Exception) -> None:
        """End because of an unexpected exception, if possible with a BYE.

        Without this the leg would hold its media and its place for ever.  The exception is
        still to be raised, so that the edge logs it.
        """
        reason = unexpected(error)
        self.feed(GiveUp(reason) if self.leaving else HangUp(reason, 500))

    def usage_of(self, remote_tag: bytes) -> DialogUsage:
        """The dialog with that remote tag, confirmed or early; it must exist."""
        if self.usage is not None:
            return self.usage
        assert self.outgoing is not None
        return self.outgoing.early[remote_tag]

    @property
    def media_state(self) -> MediaState:
        """The media state."""
        return self.media.state

    @property
    def negotiated_media(self) -> NegotiatedMedia | None:
        """The agreement in force."""
        return self.media.agreement

    @property
    def local_rtp(self) -> Address | None:
        """The address RTP is received at, or was at the end."""
        stream = self.media.counting
        return None if stream is None else stream.local

    @property
    def remote_rtp(self) -> Address | None:
        """The address RTP is sent to, or was at the end."""
        stream = self.media.counting
        return None if stream is None else stream.sending.remote

    @property
    def transmitting(self) -> bool:
        """Whether we send RTP."""
        return self.media.stream is not None and self.media.stream.sending.transmitting

    @property
    def media_statistics(self) -> Any:
        """Counters of the media, live or final."""
        return self.media.statistics

    def explain_negotiation(self) -> Explanation | None:
        """What was made of the peer's last description, or None before there is an agreement."""
        return None if self.usage is None else explain_negotiation(self.usage.negotiation)
