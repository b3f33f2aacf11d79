"""What the stages of one run leave for each other, and what of it is removed.

Imports gates, source and what is below them.
"""
