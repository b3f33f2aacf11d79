"""The whole line in one process, or one stage of it in a process of its own; a run's report.

Imports the steps, from publish down.
"""
