"""RFC 3550, 3551 and 4733, pure numpy: packets of many streams as one batch."""
