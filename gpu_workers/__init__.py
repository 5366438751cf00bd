"""Engines and endpointing. Knows slots and frames; nothing of sessions, Redis, Celery or users."""
