"""The straight line: pull, plan, encode, validate, publish, index; and reading what it published.

Arrow and LanceDB are imported inside this package; torch and Airflow are not.
"""
