"""Helpers of processes: threads that hold nobody up, modules that are left out, privileges, and an end with the parent."""
