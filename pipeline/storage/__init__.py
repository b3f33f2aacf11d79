"""Objects in a folder or a bucket: put if absent, compare and swap, and nothing else is safe.

Imports errors alone.
"""
