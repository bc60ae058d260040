"""The order in which to try SRV records (RFC 2782)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

__all__ = ["Service", "in_order"]


@frozen
class Service:
    """One SRV record."""

    priority: int
    weight: int
    target: str
    port: int


def in_order(services: Iterable[Service], random_below: Callable[[int], int]) -> list[Service]:
    """By priority; within one, drawn by weight without replacement (RFC 2782 "Weight").

    ``random_below(n)`` returns 0 to n-1.  Records whose target is the root are left out.
    """
    left = sorted(
        (service for service in services if service.target not in ("", ".")),
        # Weight 0 comes first, so that it is drawn only when the draw is 0.
        key=lambda service: (service.priority, service.weight, service.target, service.port),
    )
    ordered: list[Service] = []
    while left:
        same = [service for service in left if service.priority == left[0].priority]
        draw = random_below(sum(service.weight for service in same) + 1)
        for service in same:
            draw -= service.weight
            if draw <= 0:
                break
        ordered.append(service)
        left.remove(service)
    return ordered
