"""Rounds: when they begin, what they ask of whom, and how they end."""
