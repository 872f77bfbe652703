"""Nouns: frozen records, and the JSON Schemas the agents answer in."""
