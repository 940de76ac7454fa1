"""Arrays in, arrays out: the fast parts, each usable alone."""
