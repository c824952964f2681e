"""A model of somebody else, and the wrapper that makes it a member."""
