"""Model folders: found, digested, read without executing anything.

Imports the protocol, the spec and the errors.
"""
