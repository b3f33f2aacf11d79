"""What a value of a source means where the collection file declares a type.

Imports nothing of the other folders of the source.
"""
