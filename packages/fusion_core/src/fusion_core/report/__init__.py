"""`fusion-core report`: one self-contained page that shows every run of a recipe, frame by frame.

graph          the recipe as boxes and arrows
disagreement   how far the members of a vote are from its result
thumbnails     small frames and masks
content        what the page shows of one video
page           joins them and writes the file
"""
