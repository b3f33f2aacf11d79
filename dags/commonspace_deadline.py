"""For one release: deadlines that were pending before the move are stored under this path."""

from commonspace_airflow.alerts import notify_late_run as late

__all__ = ["late"]
