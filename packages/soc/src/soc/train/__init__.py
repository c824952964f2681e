"""Training. Its modules need the extra `train`; this one says so where it is missing."""

from program_kit.extras import extra_command

main = extra_command("soc-train", "soc.train.trainer", package="soc", extra="train", needs="rvos_training")
