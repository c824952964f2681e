"""Two-stage voting over mask runs, local J&F scores and challenge submissions; no torch.

Importing this package is cheap on purpose: `fusion-core --help` must answer at once. Import the modules you need,
e.g. `from fusion_core.voting.count import vote_pool`.
"""
