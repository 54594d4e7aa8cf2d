"""The source's side of a round: cells, the packets sent for them, and the controls between them."""
