"""torchvision's classification networks as encoders, with torchvision's weights or a file's.

Imports image_network and what is below it.
"""
