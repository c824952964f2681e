"""What makes a run from other runs: votes, and the small rules beside them; what a fused run records.

pairing     which expressions mean the same object and pool their votes
count       the vote itself, on run lengths
mean        the vote on probabilities instead of masks
fuse        one video of a vote: members in, fused masks and each member's agreement out
combine     one video of any of these nodes: vote, choose, gate, rescore
fused_run   a fused run on disk, which resumes by hash
"""
