"""The `segwatch` command: thin, with lazy imports."""
