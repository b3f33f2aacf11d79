"""One decision a file, pure: may this release be seen? None reads or writes a file.

Imports the release's records and the contract.
"""
