"""A loudspeaker that nobody hears: a PulseAudio of the test's own. Without one Firefox lets no AudioContext run."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: It is there after a moment; this is for a machine under load.
START_S = 30.0

#: Nothing of the machine's configuration, and no socket but ours.
ARGUMENTS = (
    "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes", "--log-level=error"
)  # fmt: skip


@contextmanager
def loudspeaker(program: str) -> Iterator[dict[str, str]]:
    """What the environment of a browser must have to be heard there."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "native"
        modules = ("module-null-sink", f"module-native-protocol-unix socket={socket} auth-anonymous=1")
        env = {**os.environ, "HOME": folder, "XDG_RUNTIME_DIR": folder}
        with subprocess.Popen(
            [program, *ARGUMENTS, *(word for module in modules for word in ("-L", module))],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                deadline = time.monotonic() + START_S
                while not socket.exists():
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError("PulseAudio did not start")
                    time.sleep(0.02)
                yield {"PULSE_SERVER": f"unix:{socket}"}
            finally:
                process.terminate()
