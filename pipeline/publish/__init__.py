"""A checked run becomes an immutable release, and readers are led to it.

Imports validate, encode, plan, read and what is below them.
"""
