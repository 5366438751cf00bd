"""Celery workers: tasks that claim and park, and the loops that batch what they claimed."""
