"""Measures what the README promises, from outside: `python -m bench --help`."""
