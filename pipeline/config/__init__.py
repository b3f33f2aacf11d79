"""The collection file, validated, with every default; partitions and durations.

Imports the index settings of `release`, and neither Arrow nor LanceDB.
"""
