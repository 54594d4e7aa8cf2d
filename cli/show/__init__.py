"""What verbs print: on a terminal, and as the formats that other tools read."""
