"""RFC 3261 and RFC 6026 without I/O: bytes in, bytes out.  Imports neither SDP nor media."""
