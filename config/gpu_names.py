"""How a GPU is named on a command line."""

import re

#: Its number by PCI order, as `nvidia-smi` lists it, or the UUID of it or of a MIG slice of it, which has no number.
GPU_NAME = re.compile(r"\d{1,3}|(GPU|MIG)-[0-9A-Za-z/-]+")
