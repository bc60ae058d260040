"""Counters of calls, and of messages refused or dropped above the transactions."""

from __future__ import annotations

from attrs import define

__all__ = ["CallCounters"]


@define(eq=False)
class CallCounters:
    """Plain numbers since the start; `SessionManager.statistics` shows them."""

    placed: int = 0
    """Calls whose INVITE was written."""
    incoming: int = 0
    """INVITEs that became a call, including those refused without asking the application."""
    answered: int = 0
    """Calls, of either role, whose first 200 OK was written or read."""
    ended: int = 0
    """Calls that were answered and are over."""
    failed: int = 0
    """Calls that are over and were not answered."""
    refused_busy: int = 0
    """503: too many calls, too many without ACK, or shutting down."""
    refused_overloaded: int = 0
    """503: more messages were waiting than could be read in time."""
    refused_media: int = 0
    """Descriptions, of either side, that led to no agreement."""
    refused_faulty: int = 0
    """INVITEs whose header fields make no dialog, or that require unsupported features."""
    no_ports: int = 0
    """503: all RTP ports were in use."""
    no_dialog: int = 0
    """481: requests for a dialog that does not exist (any more)."""
    stray_acks: int = 0
    """ACKs without a 200 OK that waits for one."""
    handler_errors: int = 0
    """Call handlers that failed; see the log."""
    given_up: int = 0
    """Calls that had not ended when the time to stop was up."""
