"""Audio of a test's user: as `antiphon talk` codes it, but of Opus several packets in one event."""

import base64
from typing import Any

from cli.ga_sound import GaSound


class Coded(GaSound):
    """Both directions of one client."""

    def appends(self, pcm16: bytes) -> list[dict[str, Any]]:
        """Fields of the appends that bring it."""
        appends = super().appends(pcm16)
        if self.format != "opus" or len(appends) < 2:
            return appends
        packets = [base64.b64decode(str(append["audio"])) for append in appends]
        whole = base64.b64encode(b"".join(packets)).decode()
        return [{"audio": whole, "antiphon": {"packets": [*map(len, packets)]}}]

    def sound_of(self, event: dict[str, Any]) -> bytes:
        """What a delta sounds like, as pcm16 at 24 kHz."""
        return self.heard(event["delta"], event.get("antiphon", {}).get("packets"))
