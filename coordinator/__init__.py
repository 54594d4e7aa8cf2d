"""The daemon in the middle: topology file, roster, rounds, collect, store, compare, findings, API, reports."""
