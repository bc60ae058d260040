"""RFC 8866 and RFC 3264 without I/O: descriptions and offer/answer.  Does not import SIP."""
