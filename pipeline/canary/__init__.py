"""Fixed probes and their first vectors: does the encoder still compute what the space holds?

Imports gates, source and what is below them.
"""
