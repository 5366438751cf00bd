"""Voice activity and end-of-turn models."""
