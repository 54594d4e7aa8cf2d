"""Probing: one file per probe kind, one literal table that lists them, one error classifier, the packet child.

Probes observe and never judge. Only this package touches raw packets.
"""
