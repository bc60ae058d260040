"""The table of methods for a server (RFC 3261 section 8.2), and the headers derived from it.

`Allow`, `Accept`, `Supported`, 405, 415, 420 and 501 all come from the rules of one table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen

__all__ = ["MIXED", "SDP", "MethodRule", "MethodRules"]

SDP: Final = b"application/sdp"
MIXED: Final = b"multipart/mixed"


@frozen
class MethodRule:
    """The rule of one method.

    ``served``: we answer it.  A known method that is not served gets 405, a method without a
    rule 501.  ``outside``: it is allowed outside a dialog; else it gets 481.  ``within``: it is
    allowed in a dialog; else it gets 405.  ``early``: it is allowed in an early dialog.
    ``bodies`` are the media types that its body may have; None accepts any body.
    ``extensions`` are the option tags that come with it.
    """

    name: bytes
    served: bool = False
    outside: bool = True
    within: bool = True
    early: bool = True
    bodies: tuple[bytes, ...] | None = None
    extensions: tuple[bytes, ...] = ()


class MethodRules:
    """The rules of a server, and the header fields that advertise them."""

    def __init__(self, rules: Iterable[MethodRule]) -> None:
        self.by_name: Final = {rule.name: rule for rule in rules}
        served = [rule for rule in self.by_name.values() if rule.served]
        bodies = [body for rule in served for body in rule.bodies or ()]
        extensions = [option for rule in served for option in rule.extensions]
        self.extensions: Final = frozenset(extensions)
        """The supported option tags, in lower case."""
        self.allow: Final = (b"Allow", b", ".join(rule.name for rule in served))
        self.accept: Final = (b"Accept", b", ".join(dict.fromkeys(bodies)))
        self.supported: Final = (b"Supported", b", ".join(sorted(self.extensions)))
