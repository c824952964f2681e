"""Layers that several models build on, in figures and out of them."""
