"""Matching and losses of networks that answer with queries."""
