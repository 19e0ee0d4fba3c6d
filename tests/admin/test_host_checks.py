"""What `wbot check` finds about the machine."""

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from conftest import make_simulator
from db_factories import SHOP

from wbot.admin import host_checks
from wbot.admin.preflight import Check
from wbot.clock import Clock
from wbot.simulator.simulator import serve


class Skewed(Clock):
    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)


def kind(one: Check) -> str:
    if not one.ok:
        return "failed"
    return "warned" if one.is_warning else "passed"


@pytest.mark.parametrize(
    ("ahead_s", "result", "words"),
    [
        (0, "passed", "as the Graph API's"),
        (100, "warned", "ahead of the Graph API's"),
        (-100, "warned", "behind the Graph API's"),
        (-3600, "failed", "behind the Graph API's, so messages count as too old"),
        (3600, "failed", "`timedatectl set-ntp true`"),
    ],
)
async def test_a_clock_that_is_off_is_reported(ahead_s: float, result: str, words: str) -> None:
    async with serve(make_simulator()) as url:
        found = await host_checks.clock(url, timeout_s=10.0, own=Skewed(ahead_s))
    assert kind(found) == result
    assert words in found.detail


async def test_a_clock_that_cannot_be_compared_is_a_warning() -> None:
    found = await host_checks.clock("http://127.0.0.1:9", timeout_s=1.0)
    assert (kind(found), "not checked" in found.detail) == ("warned", True)


def test_a_disk_without_room_fails_and_one_with_little_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "new" / "wbot.db"
    assert kind(host_checks.disk(path, least_bytes=2**62)) == "failed"
    found = host_checks.disk(path, least_bytes=0)
    assert "MiB are free" in found.detail
    (tmp_path / "new").mkdir()
    with path.open("wb") as sparse:
        sparse.truncate(2**43)
    assert kind(host_checks.disk(path, least_bytes=0)) == "warned"


def test_a_token_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("EAAB")
    token.chmod(0o644)
    business = msgspec.structs.replace(SHOP, access_token=f"file:{token}")
    (found,) = host_checks.secret_files([business, SHOP])
    assert kind(found) == "warned"
    assert f"chmod 600 {token}" in found.detail
    token.chmod(0o600)
    (found,) = host_checks.secret_files([business])
    assert kind(found) == "passed"
    assert host_checks.secret_files([SHOP]) == []
