"""The only folder that touches sockets and timers."""
