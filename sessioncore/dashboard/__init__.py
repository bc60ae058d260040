"""The server's calls and health over HTTP: metrics, probes, and a page that shows calls live."""
