"""A loopback server of Binance's spot API: strict about requests, honest about money, faulty when asked to be."""
