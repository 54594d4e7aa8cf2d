"""What the coordinator holds at any moment."""
