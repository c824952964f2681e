"""`fusion-core view`: a page on this machine that shows every run, and corrects one of them.

bytes_cache     keeps the latest values as long as they fit
pictures        frames as JPEG
library         the videos and runs that are looked at
journal         the corrections of a video as a file that only grows
corrections     the corrections of a video in memory: masks, locks, revisions, undo
corrected_run   the run that corrections are saved as
anchors         drawn masks as references of a propagator, and the frames between them
warm_program    a propagator in a process of its own that stays
propagation     carries drawn masks on, one job at a time
clicks          masks of what is clicked at
guard           who may ask
request_values  values in requests, checked
answers         errors as answers
routes          what the server answers
server          starts it on this machine and opens the browser
page/           the page: HTML, style, and modules of JavaScript without a build step
"""
