"""Every offered item accounted for, every gate passed, before anything becomes visible.

Imports encode, plan, read and what is below them.
"""
