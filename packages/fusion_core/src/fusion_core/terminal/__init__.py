"""What people see in a terminal.

progress     a progress bar
plan_table   a plan as a table, or as JSON
live_table   a run while it lasts: a live table, plain lines, or JSON lines
"""
