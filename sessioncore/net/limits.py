"""Raises the limit on open files: each call uses two sockets, one for RTP and one for RTCP."""

from __future__ import annotations

from attrs import frozen

try:
    import resource
except ImportError:  # pragma: no cover - not Unix
    resource = None  # type: ignore[assignment]

__all__ = ["DescriptorLimit", "raise_descriptor_limit"]


@frozen
class DescriptorLimit:
    """The result of `raise_descriptor_limit`; ``str`` is a text for the log."""

    wanted: int
    soft: int
    hard: int

    @property
    def enough(self) -> bool:
        """Whether the wanted number of files can be open."""
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
    """Raise the soft RLIMIT_NOFILE to ``wanted``, and the hard one if permitted.

    Never lowers a limit and never raises an exception; check ``enough`` of the result.
    """
    if resource is None:  # pragma: no cover - not Unix
        return DescriptorLimit(wanted, wanted, wanted)
    soft, hard = _limits()
    if soft < wanted:
        for new_hard in (max(hard, wanted), hard):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, new_hard), new_hard))
            except (OSError, ValueError):
                continue  # not permitted: raise it only to the hard limit
            break
        soft, hard = _limits()
    return DescriptorLimit(wanted, soft, hard)


def _limits() -> tuple[int, int]:
    """Soft and hard limit, with "unlimited" (-1) as a large number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = 1 << 30
    return (unlimited if soft < 0 else soft), (unlimited if hard < 0 else hard)
