"""Joins the parts: configuration, clock, processes, the command `smdp`; it alone may import every other package."""
