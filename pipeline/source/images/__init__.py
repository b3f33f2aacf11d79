"""What the value of an image column means: bytes, a path, an address, or bytes written as text."""
