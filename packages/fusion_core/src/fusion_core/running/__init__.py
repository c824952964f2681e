"""A recipe carried out: what is missing is made, what is there is kept.

context        what a recipe is carried out on, and where
plan           what a recipe would do now
jobs           what one worker is started for; says of every video whether it is done
scheduler      gives videos to workers
worker         a program or a vote at work
environments   where programs are, and the environments that they run in
provenance     what runs were made of, on disk
executors      workers on this machine, or on a Ray cluster
runner         joins them
"""
