"""The command line: one file for each group of verbs, one for each group of tables it prints.

Imports every folder; nothing imports it.
"""
