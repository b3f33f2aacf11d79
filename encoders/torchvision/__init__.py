"""torchvision's classification networks as encoders, with torchvision's weights or a file's.

Imports nvjpeg, image and what is below them.
"""
