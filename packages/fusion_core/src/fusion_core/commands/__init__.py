"""The commands of `fusion-core`, one module each.

A command is a typer-annotated function. These modules are imported to print the help, so nothing heavier than typer
stands at their top: numpy, OpenCV and mask_interchange are imported inside the functions.
"""
