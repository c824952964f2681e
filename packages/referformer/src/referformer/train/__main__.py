"""`accelerate launch -m referformer.train ...`: the command `referformer-train` in several processes."""

from referformer.train import main

main()
