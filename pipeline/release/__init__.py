"""The life of releases: manifests, parts, what is current, pins, retirement, removal.

Imports contract and storage.
"""
