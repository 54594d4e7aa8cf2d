"""What `segwatch support-bundle` gathers, and the one gate that it goes through: no key, no token, no more than 64 MiB."""
