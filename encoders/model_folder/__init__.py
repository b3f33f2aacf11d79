"""Folders that hold a model: finding, digesting and reading them without executing anything.

Imports the protocol, the spec and the errors.
"""
