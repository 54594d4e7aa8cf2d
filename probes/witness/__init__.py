"""The witness: what arrived at this host, and whether it could have been seen."""
