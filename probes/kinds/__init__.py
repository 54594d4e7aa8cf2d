"""One file per probe kind, and the literal table that lists them."""
