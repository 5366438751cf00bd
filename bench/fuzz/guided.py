"""Properties of the tests, driven by what they cover: `make fuzz`.

Each is a process of its own, so that a crash of a library under it is found too, and told with the input that did it.
Inputs that cover something new are kept from run to run, in `.fuzz/`.
"""

import importlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.machine import ROOT

#: Where properties stand, all of them hypothesis' own.
SUITES = (
    "tests.test_fuzz_events",
    "tests.test_fuzz_audio",
    "tests.test_fuzz_strangers",
    "tests.test_ogg",
    "tests.test_frames",
)

#: What is watched for new ways: where bytes of strangers are read.
WATCHED = ("web.dialects", "web.ogg", "web.frames", "web.packets", "web.visitor", "web.handshake", "web.upload_form",
           "web.casting", "web.characters", "tasks.codec", "gpu_workers.samples.voice_file")  # fmt: skip

#: Where inputs are kept.
CORPUS = ROOT / ".fuzz"

#: An input that takes longer is a finding, and so is one that takes more memory.
SLOW_S, MOST_MB = 10, 2000


def properties() -> list[str]:
    """Of all suites, as `module:function`."""
    found = []
    for suite in SUITES:
        module = importlib.import_module(suite)
        found += [f"{suite}:{name}" for name, one in vars(module).items() if hasattr(one, "hypothesis")]
    return found


def run_one(name: str, seconds: int, folder: Path) -> None:
    """In this process, which it ends. Prints what it finds."""
    import atheris  # only where it is installed

    with atheris.instrument_imports(include=[*WATCHED]):
        suite, _, function = name.partition(":")
        module = importlib.import_module(suite)
    fuzz: Any = getattr(module, function).hypothesis.fuzz_one_input
    options = [
        f"-max_total_time={seconds}", f"-timeout={SLOW_S}", f"-rss_limit_mb={MOST_MB}", "-print_final_stats=1",
        "-max_len=8192", f"-artifact_prefix={folder}/crash-", str(folder),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], fuzz)
    atheris.Fuzz()


def main() -> None:
    """All of them share the seconds. Ends with 1 if anything was found."""
    seconds, *wanted = sys.argv[1:]
    names = [name for name in properties() if not wanted or any(word in name for word in wanted)]
    found, each = [], max(1, int(float(seconds) / max(1, len(names))))
    for name in names:
        folder = CORPUS / name.rpartition(":")[2]
        folder.mkdir(parents=True, exist_ok=True)
        began_s = time.monotonic()
        told = subprocess.run(
            [sys.executable, "-m", "bench.fuzz.guided", "--one", name, str(each)], cwd=ROOT, check=False,
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        runs = [
            line.rpartition(" ")[2] for line in told.stderr.splitlines() if "number_of_executed_units" in line
        ]
        took_s, verdict = time.monotonic() - began_s, "FOUND" if told.returncode else "ok   "
        print(f"{verdict} {name}: {runs[-1] if runs else '?'} runs in {took_s:.0f} s", flush=True)
        if told.returncode:
            found.append(name)
            print(told.stdout[-3000:], told.stderr[-3000:], sep="\n")
    print(
        f"{len(names)} properties, {len(found)} of them broken" + (f": {', '.join(found)}" if found else "")
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        run_one(sys.argv[2], int(sys.argv[3]), CORPUS / sys.argv[2].rpartition(":")[2])
    else:
        main()
