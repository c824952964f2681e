"""The commands of `fusion-core`, one module each.

A command is a typer-annotated function. These modules are imported to print the help, so they import nothing slow at
their top: OpenCV, rich, jinja2 and whatever needs them are imported inside the functions.
"""
