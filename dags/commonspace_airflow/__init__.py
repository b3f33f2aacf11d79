"""What the two DAG files beside this folder are made of; Airflow is imported here alone.

Imports `commonspace.pipeline`; no file imports the DAG files.
"""
