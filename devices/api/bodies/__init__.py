"""The shapes of REST bodies and queries, one file for each kind of thing."""
