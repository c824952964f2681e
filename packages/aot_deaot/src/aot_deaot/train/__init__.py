"""Training. Its modules need the extra `train`."""
