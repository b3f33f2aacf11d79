"""Every offered item accounted for, every gate asked, before anything becomes visible.

Imports encode, plan, read and what is below them.
"""
