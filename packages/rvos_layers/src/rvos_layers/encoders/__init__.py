"""What is known of a video and of a sentence before the two meet."""
