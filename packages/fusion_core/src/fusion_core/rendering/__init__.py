"""`fusion-core export`: a run in forms for people and other tools.

forms          the forms by name, and how all of them are written in one pass over the frames
clip           a video with its masks, and the look that is wanted
overlay        masks and legend over a frame
mattes         alpha of an expression: hard or soft, feathered
colours        a colour for every expression
legend         the expressions with their colours, to be laid over frames
video_writer   video files with the timing of their source
alignment      checks that masks match a video
supervision    YOLO and Pascal VOC files, by the library of that name
rerun          recordings for the viewer of that name
exr            mattes in OpenEXR files
"""
