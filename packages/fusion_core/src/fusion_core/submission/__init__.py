"""Challenge submissions: written from a run, and checked whoever wrote them.

writer    a run as a zip file
checker   every fault of a zip file
"""
