"""The section `donation` of the settings: recordings that people give away, so that voices may be made of them."""

from pydantic import BaseModel, Field

from config.environment import FolderOrNone


class DonationSettings(BaseModel, frozen=True):
    """Voice donations, as Unmute's clients know them. Off until a folder is named: they hold voices and addresses."""

    dir: FolderOrNone = None
    """Where each donation lies: the recording, and a JSON file that says who consented to what, and when. Only the
    server's user may read it. Several web replicas may share it. None: donations are refused."""
    read_within_s: int = Field(300, ge=30, le=3600)
    """Life of the text that a donor is to read: a recording made before it was given out proves nothing. Unmute gives
    five minutes, too."""
    upload_bytes: int = Field(4 << 20, gt=0, le=64 << 20)
    """Largest recording taken, in bytes: 4 MiB, as Unmute's clients expect; 87 s of 24 kHz WAV."""
    receive_s: float = Field(20.0, gt=0)
    """A recording that has not arrived by then is given up."""
    at_once: int = Field(2, gt=0)
    """Recordings that one web process receives at the same time; more are refused with 503."""
    most: int = Field(1000, gt=0)
    """Donations kept in the folder; more are refused until some are moved away. Of 4 MiB each they are 4 GB."""
