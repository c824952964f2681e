"""The vote: which expressions pool, how votes are counted, what a fused run remembers.

pairing     which expressions mean the same object and pool their votes
count       the vote itself, on run lengths
fuse        one video: members in, fused masks and each member's standing out
fused_run   a fused run on disk, which resumes by hashes
"""
