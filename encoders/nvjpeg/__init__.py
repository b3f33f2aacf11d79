"""Decodes JPEG on a GPU, and decides which files may be decoded there.

Imports image and what is below it.
"""
