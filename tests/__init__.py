"""Tests. Names are sentences."""
