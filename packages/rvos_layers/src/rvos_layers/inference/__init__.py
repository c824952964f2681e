"""From weights, videos and expressions to mask tracks."""
