"""Texts to vectors: which are valid, their tokens, windows, passages and batches.

Imports engines, weights, vectors and the protocol.
"""
