"""In-memory network, fake clock, message builders and tone detection for tests."""
