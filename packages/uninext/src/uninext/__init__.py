"""UNINEXT."""
