"""Where workers run: on this machine (`local`) or on a Ray cluster (`ray`)."""
