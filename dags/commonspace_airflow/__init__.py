"""What the two DAG files beside this folder are made of: DAGs, tasks, schedules, alerts.

Imports Airflow and `commonspace.pipeline`, never the DAG files.
"""
