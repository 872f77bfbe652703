"""The live path, whole: the real adapter and the real SDK over real HTTP to the loopback Responses server."""
