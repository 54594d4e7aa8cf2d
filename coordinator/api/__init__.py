"""The HTTP API, and the bodies that it answers with."""
