"""torchvision's networks without their last layer, from pretrained weights or a file.

Imports nvjpeg, image and what is below them.
"""
