"""Runs a recipe: computes what is missing, keeps what is finished. In the order in which a run needs them:

context        what a recipe is carried out on, and where
provenance     what runs were made from, on disk
environments   where programs are, and the environments that they run in
worker         a program, or a vote
jobs           what one worker is started for; knows of every video whether it is done
plan           the jobs of a recipe, what is done and what is missing
events         what is reported meanwhile
executors      worker slots on this machine, or on a Ray cluster
scheduler      gives videos to workers
runner         carries a plan out
"""
