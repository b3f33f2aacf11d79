"""Folders, CSV, JSONL, Parquet as one stream of records; how a record becomes an id and a content.

Imports config and what is below it.
"""
