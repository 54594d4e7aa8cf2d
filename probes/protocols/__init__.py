"""What is said over a connection: bytes made and read, no socket."""
