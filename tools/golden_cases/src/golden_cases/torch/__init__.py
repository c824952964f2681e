"""What tests of networks need of torch. The modules need the extra `torch`."""
