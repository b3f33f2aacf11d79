"""What consumers use: open a space, search it, take its rows; what there is, and how fresh.

Imports canary, workspace and what is below them.
"""
