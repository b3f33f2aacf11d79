"""Objects in a folder or a bucket, with put-if-absent and compare-and-swap.

Imports errors alone.
"""
