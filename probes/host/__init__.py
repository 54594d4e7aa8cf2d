"""Facts of this host's operating system, and what this process may do on it."""
