"""`accelerate launch -m mutr.train ...`: the command `mutr-train` in several processes."""

from mutr.train import main

main()
