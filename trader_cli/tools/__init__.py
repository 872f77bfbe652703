"""Doors: every byte that comes in or goes out passes through one of these modules."""
