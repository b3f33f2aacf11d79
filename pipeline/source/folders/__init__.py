"""A folder of texts and images as a source: which files are items, and which links are followed."""
