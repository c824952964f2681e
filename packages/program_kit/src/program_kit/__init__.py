"""What every program shares: command line, choice of weights, run loop, progress, worker protocol."""
