"""One leg of a call and the coordinator, the one place where SIP, SDP and media meet."""
