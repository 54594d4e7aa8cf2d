"""The domain, pure: topology, policy, plan, observation, port ranges, matrix, verdict, finding.

Nothing here reads a file, opens a socket, asks for the time or imports another package of the tree.
"""
