"""A network for images, of whatever library, as an encoder: its weights, its spec, its engine.

Imports nvjpeg, image and what is below them.
"""
