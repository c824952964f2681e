"""`accelerate launch -m soc.train ...`: the command `soc-train` in several processes."""

from soc.train import main

main()
