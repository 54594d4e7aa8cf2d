"""The packet child: `python -m probes.child`, and what it and the daemon say to each other."""
