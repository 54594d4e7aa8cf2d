"""The source's side of a sweep: all ports of a target, in columns."""
