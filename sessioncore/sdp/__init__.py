"""RFC 8866 and RFC 3264, pure: descriptions and offer/answer.  Knows no SIP."""
