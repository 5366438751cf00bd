"""Hostile clients beside innocent ones: `python -m bench fuzz`."""
