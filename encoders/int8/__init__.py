"""Models in eight bits: made, compared with their original, loaded.

Imports torchvision, clip and what is below them.
"""
