"""The section `news` of the settings: where headlines come from, for characters whose instructions are of type news."""

from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

from config.environment import SecretOrNone


class NewsSettings(BaseModel, frozen=True):
    """Headlines by HTTP, in the shape of NewsAPI (newsapi.org), which Unmute uses, too."""

    key: SecretOrNone = None
    """The key, sent as the header `Authorization`; Unmute calls it NEWSAPI_API_KEY. None: nothing is fetched, and such
    a character says that no headlines are set up here. Never logged."""
    url: str = "https://newsapi.org/v2/top-headlines?language=en&pageSize=20"
    """What is asked for: any query of NewsAPI's, or another server that answers in its shape (`articles`, each with
    `title`, `source.name`, `description`). Redirections are not followed: the key is for this server alone."""
    keep_s: int = Field(4 * 3600, ge=60)
    """Life of headlines in Redis, for all web processes: six requests a day, where a free key allows 100."""
    again_s: int = Field(300, ge=1)
    """After a failure it is asked again so much later, by one process of all; until then a character says that it has
    no headlines now."""
    deadline_s: float = Field(10.0, gt=0, le=60)
    """An answer that takes longer counts as a failure. No session ever waits for it."""
    most: int = Field(10, ge=1, le=50)
    """Headlines that one character is told."""
    most_characters: int = Field(1500, ge=200, le=20_000)
    """Length of all of them together in a prompt, about 400 tokens: they are read again whenever a prompt's cache is
    lost, and small models have 2048 tokens in all."""

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL such as https://newsapi.org/v2/top-headlines?language=en")
        return url
