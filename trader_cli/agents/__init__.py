"""Minds: what each agent is asked, how its words are read, and what stands when they cannot be."""
