"""What the source offers a space beside what is published: which absent rows go, which stay.

Imports nothing of the rest of the plan.
"""
