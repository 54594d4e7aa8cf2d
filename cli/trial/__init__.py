"""The parts of `segwatch try`."""
