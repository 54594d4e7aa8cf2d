"""The parts of `segwatch agent`: its file, and what `--check` looks at."""
