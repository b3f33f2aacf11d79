"""What the stages of one run leave for each other, and how old runs are removed.

Imports gates, source and what is below them.
"""
