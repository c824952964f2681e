"""What people see in a terminal.

progress     a progress bar
tables       tables in the width of the terminal, or one line a row
plan_table   a plan as a table, or as JSON
live_table   a run while it lasts: a live table, plain lines, or JSON lines
"""
