"""What things cost: `python -m tests.bench` (or `make bench`) measures and prints; it asserts nothing."""
