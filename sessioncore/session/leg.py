"""A session with all it holds: dialog, offer/answer machine, media, transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sessioncore.deadlines import Deadline
from sessioncore.sdp.negotiation import OfferAnswer
from sessioncore.session.call import Call
from sessioncore.session.media_control import SessionMedia
from sessioncore.session.requests import OtherForks
from sessioncore.session.session import Session
from sessioncore.session.unacknowledged import UnacknowledgedSuccess
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.message import Request
from sessioncore.sip.transaction import ClientTransaction, Flow, ServerTransaction
from sessioncore.sip.values import Uri
from sessioncore.vocabulary import Address, MediaState, NegotiatedMedia, SessionRole

__all__ = ["Leg"]


Effects: TypeAlias = "Mapping[type, Callable[[Leg, Any], None]]"
"""How the coordinator carries out what the session table asks for."""


class Leg(Session):
    """One leg.  Everything it holds is changed by the coordinator and its two role paths."""

    local_uri = ""
    remote_uri = ""
    contact = b""
    flow: Flow | None = None
    dialog: Dialog | None = None
    local_description = b""
    """Our description as it was last sent; the 200 repeats what a 183 said."""
    late_offer = False
    # UAS: the INVITE transaction, how long it may ring, and the 2xx that waits for its ACK.
    server: ServerTransaction | None = None
    ring_end: Deadline | None = None
    unacknowledged: UnacknowledgedSuccess[Leg] | None = None
    # UAC: whom to call, the INVITE, where else to try it, its transaction, early dialogs,
    # and what ends the confirmed ones that are not ours.
    target: Uri | None = None
    invite: Request | None = None
    targets: Sequence[Address] = ()
    client: ClientTransaction | None = None
    forks: dict[bytes, OfferAnswer] | None = None
    other_forks: OtherForks | None = None
    rung = 0
    """Bit n is set once a provisional of status n was told."""

    def __init__(
        self,
        control: Any,
        role: SessionRole,
        name: str,
        call_id: bytes,
        local_tag: bytes,
        negotiation: OfferAnswer,
    ) -> None:
        super().__init__(role, name, call_id.decode("utf-8", "backslashreplace"))
        self.effects: Effects = control.effects
        self.local_tag = local_tag
        self.negotiation = negotiation
        self.media = SessionMedia()
        self.call = Call(self, control)

    def perform(self, effect: object) -> None:
        """Have the coordinator carry out what the table asks for."""
        self.effects[effect.__class__](self, effect)

    @property
    def media_state(self) -> MediaState:
        """How far the audio is."""
        return self.media.state

    @property
    def negotiated_media(self) -> NegotiatedMedia | None:
        """The agreement in force."""
        return self.media.agreement

    @property
    def local_rtp(self) -> Address | None:
        """Where RTP is received."""
        return None if self.media.stream is None else self.media.stream.local

    @property
    def remote_rtp(self) -> Address | None:
        """Where RTP goes, or went to at the end."""
        stream = self.media.counting
        return None if stream is None else stream.remote

    @property
    def transmitting(self) -> bool:
        """Whether RTP of ours runs."""
        return self.media.stream is not None and self.media.stream.transmitting

    @property
    def media_statistics(self) -> Any:
        """Counters of the media, live or final."""
        return self.media.statistics

    @property
    def media_counts(self) -> Any:
        """The heart of those counters."""
        stream = self.media.counting
        return None if stream is None else stream.counts

    def media_problem(self, due: int | None = None) -> str | None:
        """What those counters say of silence, or of too little where so many packets are due."""
        stream = self.media.counting
        return None if stream is None else stream.why_silent(due)
