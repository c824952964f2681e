"""Votes over mask runs, whole recipes, and challenge submissions; no torch.

Importing this package is cheap, so that `fusion-core --help` answers at once. Import the modules that you need:

    from fusion_core.recipe.nodes import Vote
    from fusion_core.voting.fuse import fuse_video

    vote = Vote(name="mine", members=("soc", "mutr"), threshold=2, out_of=4)
    fused, agreements = fuse_video(vote, [MaskRun.open(f"runs/{name}").read("dog") for name in vote.members])
"""
