"""Raise the limit on open files: each call holds two sockets, one for RTP and one for RTCP."""

from __future__ import annotations

from attrs import frozen

try:
    import resource
except ImportError:  # pragma: no cover - not Unix
    resource = None  # type: ignore[assignment]

__all__ = ["DescriptorLimit", "raise_descriptor_limit"]


@frozen
class DescriptorLimit:
    """What `raise_descriptor_limit` reached; ``str`` is a sentence for the log."""

    wanted: int
    soft: int
    hard: int

    @property
    def enough(self) -> bool:
        """Whether as many files as wanted can be open."""
        return self.soft >= self.wanted

    def __str__(self) -> str:
        if self.enough:
            return f"{self.soft} open files are allowed, {self.wanted} are needed"
        return (
            f"only {self.soft} open files are allowed, {self.wanted} are needed: calls will be"
            f" refused; raise the hard limit ({self.hard}) with `ulimit -Hn {self.wanted}` or"
            f" systemd's LimitNOFILE={self.wanted}"
        )


def raise_descriptor_limit(wanted: int) -> DescriptorLimit:
    """Raise the soft RLIMIT_NOFILE to ``wanted``, and the hard one where we may.

    Never lowers it and never raises; ask the result whether it is ``enough``.
    """
    if resource is None:  # pragma: no cover - not Unix
        return DescriptorLimit(wanted, wanted, wanted)
    soft, hard = _limits()
    if soft < wanted:
        for new_hard in (max(hard, wanted), hard):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, new_hard), new_hard))
            except (OSError, ValueError):
                continue  # not ours to raise: as far as the hard limit, then
            break
        soft, hard = _limits()
    return DescriptorLimit(wanted, soft, hard)


def _limits() -> tuple[int, int]:
    """Soft and hard limit, with "unlimited" (-1) as a large number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = 1 << 30
    return (unlimited if soft < 0 else soft), (unlimited if hard < 0 else hard)
