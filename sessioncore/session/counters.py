"""What became of calls, and what was refused or dropped above the transactions."""

from __future__ import annotations

from attrs import define

__all__ = ["CallCounters"]


@define(eq=False)
class CallCounters:
    """Plain numbers since the start; `SessionManager.statistics` shows them."""

    placed: int = 0
    """Calls whose INVITE was written."""
    incoming: int = 0
    """INVITEs that became a call; those that are refused without asking anybody are among them."""
    answered: int = 0
    """Calls, of either role, whose first 200 OK was written or read."""
    ended: int = 0
    """Calls that were answered and are over."""
    failed: int = 0
    """Calls that are over and were not answered."""
    refused_busy: int = 0
    """503: too many calls, too many without ACK from one host, or shutting down."""
    refused_overloaded: int = 0
    """503: more messages had come than could be read in good time."""
    refused_media: int = 0
    """Descriptions, of either side's, that could not be agreed to."""
    refused_faulty: int = 0
    """INVITEs whose header fields make no dialog, or that ask for what we do not have."""
    no_ports: int = 0
    """503: all RTP ports were in use."""
    no_dialog: int = 0
    """481: requests for a dialog that is not there (any more)."""
    stray_acks: int = 0
    """ACKs that no 200 OK waited for."""
    handler_errors: int = 0
    """Handlers of incoming calls that failed; see the log."""
    given_up: int = 0
    """Calls that had not ended when the time to stop was up."""
