"""`fusion-core render`: a run as pictures and files for other tools.

colours        a colour for every expression
legend         the expressions with their colours, to be laid over frames
overlay        masks and legend over a frame
video_writer   an MP4 file with the timing of its source
alignment      checks that masks match a video
outputs        joins them, video by video
"""
