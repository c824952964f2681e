"""From a command line to a training."""
