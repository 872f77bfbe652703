"""The real executor under faults: a Hypothesis state machine over a virtual clock and an exchange of its own."""
