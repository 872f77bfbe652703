"""Verbs: each phase is a function of a Desk and of earlier records."""
