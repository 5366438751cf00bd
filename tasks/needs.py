"""`python -m tasks.needs tts`: what a stage's engine asks of the machine, as JSON, told by the interpreter that has it.

Exit 3 and one line on stderr when the engine does not exist, is not installed, or its options do not fit.
"""

import sys

import msgspec

from config.errors import AntiphonError
from config.settings import load
from gpu_workers import loader


def main(stage: str) -> int:
    """Prints the `Needs`; the exit status."""
    try:
        choice = load().stage(stage)
        print(msgspec.json.encode(loader.needs(stage, choice, choice.slots)).decode())
    except AntiphonError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
