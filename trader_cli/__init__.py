"""trader: a language model proposes trades in one crypto symbol, the law (code) disposes."""

__version__ = "0.1.0"
