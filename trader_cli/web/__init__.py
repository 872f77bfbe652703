"""The read-only HTTP API and dashboard of `trader serve` (extra `serve`)."""
