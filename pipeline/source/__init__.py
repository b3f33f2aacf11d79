"""Folders, CSV, JSONL, Parquet as one stream of records; from a record to id and content.

Imports config and what is below it.
"""
