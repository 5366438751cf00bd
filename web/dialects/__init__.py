"""One module for each dialect of the wire: its event structs and their translation."""
