"""Commands that find out what works: the self-test of this machine, and the doctor for a peer."""
