"""One file a probe kind, and the literal table that lists them."""
