"""RFC 3261 section 25 as byte patterns: the only place that defines which bytes SIP allows.

Strings are parts of patterns, ``re.Pattern`` objects are whole productions; the names are those
of the RFC.  All run in linear time: every repetition is possessive or cannot overlap what follows.
``LWS`` never contains a line break, because values are unfolded before they are matched.

More is accepted than the RFC allows where the meaning is plain, because peers send it: ``_``
in host names, ``:::`` in IPv6 (RFC 5118 section 4.10), IPv6 addresses without brackets in
parameters (RFC 5118 section 4.5), any characters in the user part and the parameters of a URI
and in values of header parameters, and display names without quotes.  docs/reference/reading.md
has the list.  `STRICT_SIP_URI` is what we write ourselves.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "CONTENT_TYPE",
    "CSEQ",
    "DATE",
    "DISPLAY_ADDRESS",
    "END_OF_HEADERS",
    "FOLD",
    "FOREIGN_URI",
    "LINE_END",
    "LIST_ITEM",
    "MAX_HEADER_FIELDS",
    "MAX_LINE",
    "MAX_LIST_ITEMS",
    "MAX_MESSAGE",
    "NAME_ADDR",
    "NUMBER",
    "PARAM",
    "PARAMS",
    "PLAIN_ADDR",
    "PLAIN_FIELD",
    "PLAIN_REQUIRED",
    "PLAIN_START",
    "REQUEST_LINE",
    "SENT_PROTOCOL",
    "SIP_URI",
    "SLOPPY_REQUEST_LINE",
    "STATUS_LINE",
    "STRICT_SIP_URI",
    "TOKEN",
    "URI_PARAM",
]

MAX_MESSAGE: Final = 65_535
"""Octets in a message; more does not fit into a datagram."""
MAX_HEADER_FIELDS: Final = 256
"""Header fields in a message, counted after unfolding."""
MAX_LINE: Final = 16_384
"""Octets in one unfolded header field."""
MAX_LIST_ITEMS: Final = 256
"""Values in one comma separated header field."""

# 25.1 basic rules.  HCOLON, SEMI, EQUAL, ... are their character between two LWS.
_LWS = rb"[ \t]*+"
_TOKEN_CHARACTER = rb"[A-Za-z0-9\-.!%*_+`'~]"
_TOKEN = _TOKEN_CHARACTER + rb"++"
_QUOTED = rb'"(?>[^"\\\x00-\x08\x0a-\x1f\x7f]++|\\[^\r\n\x80-\xff])*+"'
_ESCAPED = rb"%[0-9A-Fa-f]{2}"
_NUMBER = rb"0{0,20}([0-9]{1,10})"

# 25.1 host.  Labels are not checked one by one: the resolver decides whether a name exists.
_HOSTNAME = rb"[A-Za-z0-9_][A-Za-z0-9_.\-]*+"
_IPV6 = rb"\[[0-9A-Fa-f:.]{2,63}\]"
_HOST = rb"(?:" + _HOSTNAME + rb"|" + _IPV6 + rb")"

# 25.1 generic-param: gen-value is token / host / quoted-string; read is also any other word,
# or nothing (``rport=``).
_VALUE = rb"(?:" + _QUOTED + rb"|[^\x00-\x20\x7f\";,<>]*+)"
_PARAM = _LWS + rb";" + _LWS + _TOKEN + rb"(?>" + _LWS + rb"=" + _LWS + _VALUE + rb")?+"
_PARAMS = rb"(?>" + _PARAM + rb")*+"

TOKEN: Final = re.compile(_TOKEN)
NUMBER: Final = re.compile(_NUMBER)
"""1*DIGIT of at most ten digits behind up to 20 zeros; group 1 are the digits."""
PARAM: Final = re.compile(
    _LWS + rb";" + _LWS + rb"(" + _TOKEN + rb")(?:" + _LWS + rb"=" + _LWS + rb"(" + _VALUE + rb"))?"
)
PARAMS: Final = re.compile(_PARAMS + _LWS)

# 25.1 SIP-URI and SIPS-URI, absoluteURI.
_USER = rb"(?>[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|" + _ESCAPED + rb")++"
_PASSWORD = rb"(?>[A-Za-z0-9\-_.!~*'()&=+$,]|" + _ESCAPED + rb")*+"
_URI_PARAM = rb"(?>[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|" + _ESCAPED + rb")++"
_URI_HEADERS = rb"(?>[A-Za-z0-9\-_.!~*'()\[\]/?:+$&=]|" + _ESCAPED + rb")++"

STRICT_SIP_URI: Final = re.compile(
    rb"([Ss][Ii][Pp][Ss]?):"
    rb"(?:(" + _USER + rb")(?::(" + _PASSWORD + rb"))?@)?"
    rb"(" + _HOST + rb")"
    rb"(?::([0-9]{1,5}))?"
    rb"((?>;" + _URI_PARAM + rb"(?:=" + _URI_PARAM + rb")?)*+)"
    rb"(?:\?(" + _URI_HEADERS + rb"))?"
)
"""A SIP or SIPS URI by the RFC.  Groups: as `SIP_URI`."""
_ANY = rb"[^\x00-\x20\x7f<>"  # begins a set: never a blank, a line break or an angle bracket
_QUOTED_PARAM = rb'"' + _ANY + rb'"]*+"'
SIP_URI: Final = re.compile(
    rb"([Ss][Ii][Pp][Ss]?):"
    rb"(?:(" + _ANY + rb"@:\"]++)(?::(" + _ANY + rb"@\"]*+))?@)?"
    rb"(" + _HOST + rb")"
    rb"(?::([0-9]{1,5}))?"
    rb"((?>;(?>" + _QUOTED_PARAM + rb"|" + _ANY + rb"\";?])*+)*+)"
    rb"(?:\?(" + _ANY + rb"]++))?"
)
"""A SIP or SIPS URI as peers write it: only what we need of it has to be well-formed.

Groups: scheme, user, password, host, port, parameters with their ";", headers.
"""
URI_PARAM: Final = re.compile(rb";((?>" + _QUOTED_PARAM + rb"|[^\";])*+)")
"""One parameter of `SIP_URI`, whose value may have a ";" in quotes."""
FOREIGN_URI: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*+):" + _ANY + rb"]++")
"""absoluteURI of any scheme; group 1 is the scheme."""

# 25.1 From, To, Contact, Route, Record-Route: name-addr / addr-spec with header parameters.
_DISPLAY = rb"(?:(" + _QUOTED + rb")|([^\"<>\x00-\x08\x0a-\x1f\x7f]*+))"
DISPLAY_ADDRESS: Final = re.compile(_LWS + _DISPLAY + _LWS + rb"<([^<>\x00-\x20]++)>")
"""name-addr alone.  Groups: quoted display name, token display name, URI."""
NAME_ADDR: Final = re.compile(DISPLAY_ADDRESS.pattern + rb"(" + _PARAMS + rb")" + _LWS)
"""name-addr with parameters.  Groups: as `DISPLAY_ADDRESS`, then the parameters."""
PLAIN_ADDR: Final = re.compile(
    _LWS + rb"(?:(" + _QUOTED + rb")" + _LWS + rb"|([^\"<>:;\x00-\x08\x0a-\x1f\x7f]*[ \t]))?"
    rb"([A-Za-z][^<>;,?\"\x00-\x20]*+)(" + _PARAMS + rb")" + _LWS
)
"""addr-spec, where ";" starts header parameters and "," and "?" are forbidden (section 20).

Groups: as `NAME_ADDR`, because some write a display name before it.
"""

# 25.1 Via.  sent-protocol is three tokens, so that another version can still be answered 505.
_SLASH = _LWS + rb"/" + _LWS
SENT_PROTOCOL: Final = re.compile(
    _LWS + _TOKEN + _SLASH + _TOKEN + _SLASH + rb"(" + _TOKEN + rb")[ \t]++"
    rb"(" + _HOST + rb")(?:" + _LWS + rb":" + _LWS + rb"([0-9]{1,5}))?" + _LWS
)
"""sent-protocol LWS sent-by.  Groups: transport, host, port."""

# 25.1 single values.
CSEQ: Final = re.compile(_NUMBER + rb"[ \t]++(" + _TOKEN + rb")")
CONTENT_TYPE: Final = re.compile(
    rb"(" + _TOKEN + rb")" + _SLASH + rb"(" + _TOKEN + rb")" + _LWS + rb"(?:;.*)?", re.DOTALL
)
DATE: Final = re.compile(
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) "
    rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([0-9]{4}) "
    rb"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
"""rfc1123-date; the only time zone of SIP-date is GMT."""

_PLAIN_ADDRESS = rb"([^>]{1,255}+)>(?:;tag=(" + _TOKEN + rb"))?"
_PLAIN_VIA = (
    rb"([^;]{1,255}+)"
    rb"(?:(;rport)?;branch=([A-Za-z0-9\-.!%*_+`'~]{8,}+)(;rport)?|(" + _PARAMS + rb"))"
)
PLAIN_REQUIRED: Final = re.compile(
    rb"\n".join((_PLAIN_VIA, _PLAIN_ADDRESS, _PLAIN_ADDRESS, rb"([^ \t\n]++)", rb"(.{1,255}+)"))
)
"""Nearly every Via, From, To, Call-ID and CSeq, as lines.

Groups: sent-protocol with sent-by; rport, a branch that is more than the magic cookie, rport, or
other parameters; twice an address without its closing
bracket, and the tag; Call-ID; CSeq.  The groups that are parsed further (the first, the
addresses, CSeq) are short enough to be cached.
"""

# 7.3.1: a comma separates values unless it stands in quotes or in angle brackets.
LIST_ITEM: Final = re.compile(rb'(?>[^,"<]++|' + _QUOTED + rb"|<[^<>]*+>)*+")

# 7.1, 7.2 start lines; 7.3.1 line folding; 7.5 framing (a lone LF ends a line, too).
_VERSION = rb"([Ss][Ii][Pp]/[0-9]+\.[0-9]+)"
REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([^\x00-\x20\x7f]++) " + _VERSION)
SLOPPY_REQUEST_LINE: Final = re.compile(
    rb"(" + _TOKEN + rb")[ \t]++(.*[^ \t])[ \t]++" + _VERSION + _LWS, re.DOTALL
)
"""A line that can still be recognised as a request line, so that the request can be refused."""
STATUS_LINE: Final = re.compile(_VERSION + rb" ([1-6][0-9]{2})(?: (.*))?", re.DOTALL)
PLAIN_START: Final = re.compile(
    rb"(?:(" + _TOKEN + rb") ([^\x00-\x20\x7f]++) SIP/2\.0"
    rb"|SIP/2\.0 ([1-6][0-9]{2})(?: ([^\r\n]*+))?)(?=\r\n)"
)
"""A start line without fault.  Groups: method and Request-URI, or status and reason phrase."""
PLAIN_FIELD: Final = re.compile(
    rb"\r\n(" + _TOKEN + rb"):[ \t\v\f]*+(?:(?![^\r])|([^\r]++)(?<!\s))"
)
"""A header field on one line, without white space around its value.  Groups: name, value.

The value may be empty, as in our own Supported; then white space may follow the colon.
"""
LINE_END: Final = re.compile(rb"\r?\n")
FOLD: Final = re.compile(rb"\r?\n[ \t]++")
END_OF_HEADERS: Final = re.compile(rb"\r?\n\r?\n")
