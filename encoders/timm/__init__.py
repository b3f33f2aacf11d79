"""timm's networks as encoders, with weights of the hub, of a file or of an installed package.

Imports image_network and what is below it.
"""
