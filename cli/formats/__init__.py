"""A verify run in the formats that other tools read: one file per format, and the literal table that lists them."""
