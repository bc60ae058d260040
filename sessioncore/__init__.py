"""SIP, SDP and RTP sessions for Twisted."""
