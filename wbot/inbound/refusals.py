"""Webhooks refused for their signature: nothing but those may mean another app secret."""

from datetime import datetime

REFUSED_MAX = 2
"""As many, with none accepted since, say nothing yet: anyone can send one."""


class Refusals:
    """Counts the signed webhooks refused since the last one whose signature was right."""

    def __init__(self) -> None:
        self._count = 0
        self._since: datetime | None = None

    def refused(self, now: datetime) -> None:
        self._count += 1
        self._since = self._since or now

    def accepted(self) -> None:
        self._count, self._since = 0, None

    def reasons(self) -> list[str]:
        """Why no webhook gets in, for /health; empty while one does."""
        if self._since is None or self._count <= REFUSED_MAX:
            return []
        sentence = (
            f"Every webhook since {self._since:%Y-%m-%d %H:%M} UTC was refused ({self._count}): "
            "their signature is not made with WBOT_APP_SECRET. Compare it with the app secret in "
            "Meta's dashboard under App settings, Basic, and restart."
        )
        return [sentence]
