"""sentence-transformers models: what a folder means, loaded, converted, and kept converted.

Imports text and what is below it.
"""
