"""The contract of a space: its name, its columns, its Parquet files, its keys in a warehouse.

Imports storage.
"""
