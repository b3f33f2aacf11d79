"""What consumers use: opening a space, searching it, taking its rows; the catalog of spaces.

Imports canary, workspace and what is below them.
"""
