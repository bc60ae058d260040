"""RFC 3261 and RFC 6026, pure: bytes in, bytes out.  Knows no SDP and no media."""
