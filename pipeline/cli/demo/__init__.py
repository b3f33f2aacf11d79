"""What `commonspace demo` does: its samples, its picture and its way through Airflow."""
