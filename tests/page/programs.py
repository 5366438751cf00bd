"""What the tests of the page run beside Python: Node.js, the packages of package-lock.json, Chromium."""

import shutil
from pathlib import Path

from tests.sdk_programs import node as node_of_sdks

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
PAGE = ROOT / "web/page"

#: From `npm ci`; tools/node-packages does that.
PACKAGES = FOLDER / "node_modules"

#: Debian's, and other names it goes by.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def node() -> Path | None:
    """The one that came by PyPI, else one that is installed."""
    if node_of_sdks().exists():
        return node_of_sdks()
    found = shutil.which("node")
    return Path(found) if found else None


def package(name: str) -> Path | None:
    """A file of a package, if it is installed."""
    path = PACKAGES / name
    return path if path.exists() else None


def browser() -> str | None:
    """A Chromium of this machine; none is downloaded."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)
