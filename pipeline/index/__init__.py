"""The LanceDB table of the current release: synced with Parquet, indexed, its recall measured.

Imports release and what is below it.
"""
