"""What is done to releases after they were published: retention, removal, verification, repair.

Imports the steps, from publish down.
"""
