"""Messages to agents and from them: signed, sequenced, counted, committed, acknowledged."""
