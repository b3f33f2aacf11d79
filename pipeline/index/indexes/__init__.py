"""The indexes of a table: which it gets, how each kind is built and searched."""
