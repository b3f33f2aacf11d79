"""What a space promises: its name, its columns, its Parquet files, its keys in a warehouse.

Imports storage.
"""
