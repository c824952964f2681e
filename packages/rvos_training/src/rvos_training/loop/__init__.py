"""The training loop: optimizer, checkpoints, log, validation."""
