"""A shard of contents becomes vectors and failures; an item that crashes its process is set apart.

Imports plan, read, pull and what is below them.
"""
