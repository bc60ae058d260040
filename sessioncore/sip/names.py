"""Header field names (RFC 3261 sections 7.3.3 and 20) and reason phrases (section 21)."""

from __future__ import annotations

from typing import Final

__all__ = ["CANONICAL", "CANONICAL_NAMES", "REASONS", "header_key"]

_NAMES: Final = (
    b"Accept Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Authentication-Info "
    b"Authorization Call-ID Call-Info Contact Content-Disposition Content-Encoding "
    b"Content-Language Content-Length Content-Type CSeq Date Diversion Error-Info Event Expires "
    b"From History-Info Identity In-Reply-To Join Max-Forwards MIME-Version Min-Expires Min-SE "
    b"Organization P-Access-Network-Info P-Asserted-Identity P-Preferred-Identity Path Priority "
    b"Privacy Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason Record-Route "
    b"Refer-Sub Refer-To Referred-By Remote-Party-ID Replaces Reply-To Request-Disposition Require "
    b"Retry-After Route RSeq Server Service-Route Session-Expires SIP-ETag SIP-If-Match Subject "
    b"Subscription-State Supported Timestamp To Unsupported User-Agent Via Warning "
    b"WWW-Authenticate"
).split()

# Compact forms: 7.3.3 and the IANA registry; case-insensitive like every name.
_COMPACT: Final = {
    b"a": b"Accept-Contact",
    b"b": b"Referred-By",
    b"c": b"Content-Type",
    b"d": b"Request-Disposition",
    b"e": b"Content-Encoding",
    b"f": b"From",
    b"i": b"Call-ID",
    b"j": b"Reject-Contact",
    b"k": b"Supported",
    b"l": b"Content-Length",
    b"m": b"Contact",
    b"o": b"Event",
    b"r": b"Refer-To",
    b"s": b"Subject",
    b"t": b"To",
    b"u": b"Allow-Events",
    b"v": b"Via",
    b"x": b"Session-Expires",
    b"y": b"Identity",
}

CANONICAL: Final[dict[bytes, bytes]] = {}
"""Common spellings, looked up without lower-casing, and their canonical spelling."""
for _name in _NAMES:
    CANONICAL[_name] = CANONICAL[_name.lower()] = _name
for _letter, _name in _COMPACT.items():
    _name = CANONICAL.setdefault(_name, _name)
    CANONICAL[_name.lower()] = CANONICAL[_letter] = CANONICAL[_letter.upper()] = _name
CANONICAL_NAMES: Final = frozenset(CANONICAL.values())


def header_key(name: bytes) -> bytes:
    """The canonical spelling of a known header field name; an unknown name in lower case."""
    known = CANONICAL.get(name)
    if known is None:
        lower = name.lower()
        return CANONICAL.get(lower, lower)
    return known


REASONS: Final[dict[int, bytes]] = {
    100: b"Trying",
    180: b"Ringing",
    181: b"Call Is Being Forwarded",
    182: b"Queued",
    183: b"Session Progress",
    200: b"OK",
    202: b"Accepted",
    300: b"Multiple Choices",
    301: b"Moved Permanently",
    302: b"Moved Temporarily",
    305: b"Use Proxy",
    380: b"Alternative Service",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    410: b"Gone",
    412: b"Conditional Request Failed",
    413: b"Request Entity Too Large",
    414: b"Request-URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Unsupported URI Scheme",
    420: b"Bad Extension",
    421: b"Extension Required",
    422: b"Session Interval Too Small",
    423: b"Interval Too Brief",
    480: b"Temporarily Unavailable",
    481: b"Call/Transaction Does Not Exist",
    482: b"Loop Detected",
    483: b"Too Many Hops",
    484: b"Address Incomplete",
    485: b"Ambiguous",
    486: b"Busy Here",
    487: b"Request Terminated",
    488: b"Not Acceptable Here",
    489: b"Bad Event",
    491: b"Request Pending",
    493: b"Undecipherable",
    500: b"Server Internal Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Server Time-out",
    505: b"Version Not Supported",
    513: b"Message Too Large",
    600: b"Busy Everywhere",
    603: b"Decline",
    604: b"Does Not Exist Anywhere",
    606: b"Not Acceptable",
}
"""The default reason phrase of each status that we may send."""
