"""Speech-to-text engines, one file each."""
