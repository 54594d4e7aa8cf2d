"""The topology file: from text to a checked `Topology`, and to a new one while the coordinator runs."""
