"""RFC 3550, 3551 and 4733 in numpy, without I/O: packets of many streams as one batch."""
