"""Several machines on one: a fleet in network namespaces, what happens to it, and what its users notice."""
