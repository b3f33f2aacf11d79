"""The source's records become a run's items, with the digest of what an encoder will see.

Imports canary, workspace and what is below them.
"""
