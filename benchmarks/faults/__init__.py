"""``bin/bench faults``: every cause of the fault book, injected between real processes."""
