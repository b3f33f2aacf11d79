"""One gate a file: may this release be seen? Each is a pure decision, and reads no file.

Imports config, contract and what is below them.
"""
