"""Exchanges: one port, `Exchange` (market, candles, quote, balances, submit, find)."""
