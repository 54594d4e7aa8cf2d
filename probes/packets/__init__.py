"""Packets: made, read, sent, captured, recognised and kept."""
