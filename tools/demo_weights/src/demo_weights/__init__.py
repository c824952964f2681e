"""Trains the small weights that the programs ship."""
