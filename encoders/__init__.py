"""Encoders: contents in, vectors out.

The files beside this one are what other packages may import; they load without torch, which only
the modules that compute import. Nothing here knows of storage, Airflow or the `pipeline` package.
"""
