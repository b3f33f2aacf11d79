"""For each item: encode, reuse, keep, reject or delete. The decision is pure (`plan.py`).

Imports read, pull and what is below them.
"""
