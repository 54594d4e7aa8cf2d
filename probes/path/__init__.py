"""What lies between a source and its targets."""
