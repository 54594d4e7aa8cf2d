"""One literal table lists every target."""
