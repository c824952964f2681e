"""`fusion-core report`: one self-contained page that shows what every run of a recipe says, frame by frame.

graph          the recipe as boxes and arrows
disagreement   how far the members of a vote are from its result
thumbnails     frames and masks made small
content        what the page knows of one video
page           joins them and writes the file
"""
