"""Candle sources: where paper trading's bars come from."""
