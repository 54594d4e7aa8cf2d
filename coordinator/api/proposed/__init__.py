"""Topologies that are not in force: one that is judged by what was observed, one that is drafted from it."""
