"""trader: a language model proposes trades in one crypto symbol, the law (code) disposes."""

__version__ = "1.0.0"
