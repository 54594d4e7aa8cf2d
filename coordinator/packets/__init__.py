"""The packets that rounds kept as evidence, for people and for Wireshark."""
