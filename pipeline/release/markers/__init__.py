"""Small JSON objects beside the releases of a space: pins, retirement, what is being removed."""
