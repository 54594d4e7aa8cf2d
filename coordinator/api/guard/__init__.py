"""What stands between the API and whoever connects: TLS, bounds on connections and requests, the names it answers to.

No module of here knows a route.
"""
