"""For one release: deadlines that were pending when `late` moved are stored under this path."""

from commonspace_airflow.alerts import late as late
