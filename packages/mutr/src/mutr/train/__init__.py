"""Training. Its modules need the extra `train`; this one says so where it is missing."""

from program_kit.extras import extra_command

main = extra_command("mutr-train", "mutr.train.trainer", package="mutr", extra="train", needs="rvos_training")
