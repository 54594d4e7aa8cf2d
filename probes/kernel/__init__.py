"""Connections and datagrams as any program of the host makes them: through the kernel."""
