"""A shard of contents becomes vectors and failures; an item that kills its process is found.

Imports plan, read, pull and what is below them.
"""
