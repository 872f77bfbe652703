"""A loopback server of the OpenAI Responses API: strict about requests, scripted in its answers."""
