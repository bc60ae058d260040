"""What became of calls, and what was refused or dropped above the transactions."""

from __future__ import annotations

from attrs import define

__all__ = ["CallCounters"]


@define(eq=False)
class CallCounters:
    """Plain numbers since the start; `SessionManager.statistics` shows them."""

    placed: int = 0
    incoming: int = 0
    answered: int = 0
    ended: int = 0
    """Calls that were answered and are over."""
    failed: int = 0
    """Calls that are over and were not answered."""
    refused_busy: int = 0
    """503: too many calls, too many without ACK from one host, or shutting down."""
    refused_media: int = 0
    """Descriptions, of either side's, that could not be agreed to."""
    refused_faulty: int = 0
    """INVITEs whose header fields make no dialog, or that nothing of ours can answer."""
    no_ports: int = 0
    no_dialog: int = 0
    stray_acks: int = 0
    handler_errors: int = 0
    given_up: int = 0
