"""Text in batches of set shapes: tokens, windows, passages, and the rules a text is read by.

Imports engines, weights, vectors and the protocol.
"""
