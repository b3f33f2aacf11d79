"""The LanceDB table of the current release: derived, measured, and rebuilt where it differs.

Imports release and what is below it.
"""
