"""Models in eight bits: quantised, compared with their original, loaded.

Imports torchvision, clip and what is below them.
"""
