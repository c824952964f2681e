"""Challenge submissions: written from a run, and checked whoever wrote them.

forms      where each challenge looks for masks
writer     a run as a zip file
checker    finds every fault of a zip file
archive    reads the zip file
findings   what a check finds
"""
