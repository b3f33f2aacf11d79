"""sentence-transformers models: described, loaded, converted to OpenVINO, cached as converted.

Imports text and what is below it.
"""
