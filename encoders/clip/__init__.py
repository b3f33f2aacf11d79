"""CLIP: texts and images in one space.

Imports nvjpeg, sentence and what is below them.
"""
