"""JPEG decoded by the GPU, and which files it may be given.

Imports image and what is below it.
"""
