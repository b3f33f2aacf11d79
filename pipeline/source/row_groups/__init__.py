"""The row groups of a Parquet file: how large their pages become, and their rows within a limit."""
