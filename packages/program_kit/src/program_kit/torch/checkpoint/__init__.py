"""Checkpoint files: `reading`, `writing`, the `table` of names, and `model_checkpoints` that joins the three."""
