"""Text files as they come: known by their first bytes, decompressed, decoded, line by line."""
