"""A first collection file: looks at data, guesses what a person would write, says what it guessed.

The rules are pure functions over a sample; nothing here opens a warehouse.
"""
