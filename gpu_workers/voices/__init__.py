"""Voice encoders: what makes a voice of a recording, one file each. Found by name by the loader."""
