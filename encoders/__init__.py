"""Encoders: contents in, vectors out.

Torch is imported inside this package only, and only by the modules that compute
(`text`, `image`). `spec`, `protocol`, `errors` and `catalog` load without it.
Nothing here knows of storage, Airflow or the `pipeline` package.
"""
