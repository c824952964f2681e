"""Encoders of video and of text, before the two meet."""
