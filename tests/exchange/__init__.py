"""`trader` itself, through the genuine ccxt, against the loopback exchange: faults, kills, first starts, secrets."""
