"""Images to vectors: reading files, crops, batches; which files are valid.

Imports engines, weights, vectors and the protocol.
"""
