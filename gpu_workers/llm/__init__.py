"""Language-model engines, one file each."""
