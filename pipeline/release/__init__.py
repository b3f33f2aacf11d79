"""The life of releases: manifests, parts, rejects, the pointer CURRENT, pins, removal, retirement.

Imports contract and storage.
"""
