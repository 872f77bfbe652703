"""Pure rules: no clock, disk, network, environment or randomness."""
