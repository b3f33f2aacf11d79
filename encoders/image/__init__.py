"""From the bytes of an image file to upright RGB, to a network's crop, to vectors.

Imports engines, weights, vectors and the protocol.
"""
