"""Writes docs/openapi.json as the server serves it: `make openapi`.

python -m tools.openapi            writes
python -m tools.openapi --check    says whether it is as declared
"""

import sys

from tools.tables import ROOT
from web.operations import written

FILE = ROOT / "docs/openapi.json"


def main() -> int:
    """The exit status."""
    if sys.argv[1:] == ["--check"]:
        same = FILE.exists() and FILE.read_bytes() == written()
        print("as declared" if same else "not as declared: make openapi")
        return 0 if same else 1
    FILE.write_bytes(written())
    return 0


if __name__ == "__main__":
    sys.exit(main())
