"""The collection file, checked, with every default; partitions and durations.

Imports release's settings of indexes, and neither Arrow nor LanceDB.
"""
