"""A sealed estate in network namespaces: the demo and the tests run on it. No packet of it can leave the machine."""
