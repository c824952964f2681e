"""`fusion-core render`: what a run says, as pictures and files for other tools.

colours        a colour for every expression
legend         the sentences, drawn to be laid over frames
overlay        masks and legend over a frame
video_writer   an MP4 file with the timing of its source
alignment      checks that masks are of the video that they are drawn over
outputs        joins them, video by video
"""
