"""The vote: which expressions pool, how votes are counted, what a fused run records.

pairing     which expressions mean the same object and pool their votes
count       the vote itself, on run lengths
fuse        one video: members in, fused masks and each member's agreement out
fused_run   a fused run on disk, which resumes by hash
"""
