"""Whether Envoy has taken up what was written: each file's subscription, its version and its refusals."""

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.gateway.admin import Admin
from argosy.gateway.files import XdsFiles
from argosy.gateway.listener import NAME, SECRET
from argosy.gateway.snapshot import CDS, LDS, RDS, SDS
from argosy.spec.errors import ArgosyError, Unavailable

AGAIN_SECONDS = 1.0
LIMIT_SECONDS = 15.0
_LINE = re.compile(r'^(?P<name>.+)\.(?P<what>version_text|update_rejected|update_failure): "?(?P<value>[^"]*)"?$')
_NOISE = re.compile(r"^\[[^\]]*\]\[\d+\]\[\w+\]\[\w+\] (\[[^\]]*\] )?")


class Refused(ArgosyError):
    """Envoy did not accept what it was given."""

    code, http, grpc, exit = "gateway_refused", 500, 13, 1


class Subscription(msgspec.Struct, frozen=True):
    """One subscription: the version in use and how often something was refused."""

    version: str = ""
    refusals: int = 0


class Subscriptions:
    """Reads Envoy's statistics over the admin socket, and its log for the reason of a refusal."""

    def __init__(self, admin: Admin, files: XdsFiles, log: str) -> None:
        self.admin, self.files, self.log = admin, files, Path(log)

    async def states(self) -> dict[str, Subscription]:
        """Subscription (the prefix of its statistics) → state."""
        pattern = "(version_text|update_rejected|update_failure)$"
        text = (await self.admin.get(f"/stats?filter={pattern}")).decode()
        found: dict[str, dict[str, str]] = {}
        for line in text.splitlines():
            if match := _LINE.match(line):
                found.setdefault(match["name"], {})[match["what"]] = match["value"]
        return {name: _state(values) for name, values in found.items()}

    async def write(self, files: dict[str, list[dict[str, Any]]]) -> None:
        """Writes these files and waits until each is in use. Raises Refused with Envoy's message, or Unavailable."""
        if not files:
            return
        before = await self.states()
        mark = self.mark()
        wanted = {file: self.files.write(file, resources) for file, resources in files.items()}
        await self._taken_up(wanted, before, mark)

    def mark(self) -> int:
        """Where the log ends now."""
        return _size(self.log)

    async def confirm(self, mark: int) -> None:
        """Waits until everything that lies there is in use: after a start, whose log begins at `mark`."""
        names = {file: written.version_info for file in self.files.names() if (written := self.files.get(file))}
        await self._taken_up(names, {}, mark)

    async def stale(self) -> set[str]:
        """Files whose version is not the one in use."""
        states = await self.states()
        return {
            file
            for file in self.files.names()
            if (written := self.files.get(file))
            and states.get(self._subscription(file), Subscription()).version != written.version_info
        }

    async def _taken_up(self, wanted: dict[str, str], before: dict[str, Subscription], mark: int) -> None:
        start = again = time.monotonic()
        while True:
            states = await self.states()
            waiting = {file for file, version in wanted.items() if self._of(file, states).version != version}
            refused = {f for f in wanted if self._of(f, states).refusals > self._of(f, before).refusals}
            if refused:
                raise Refused(f"Envoy refuses {', '.join(sorted(refused))}: {await self._reason(mark)}")
            if not waiting:
                return
            now = time.monotonic()
            if now - start > LIMIT_SECONDS:
                raise Unavailable(f"Envoy has not taken up {', '.join(sorted(waiting))} in {LIMIT_SECONDS:g} s")
            if now - again > AGAIN_SECONDS:
                again = now
                for file in waiting:
                    self.files.write_again(file)
            await asyncio.sleep(0.005 if now - start < 0.1 else 0.03)

    def _of(self, file: str, states: dict[str, Subscription]) -> Subscription:
        return states.get(self._subscription(file), Subscription())

    def _subscription(self, file: str) -> str:
        fixed = {
            LDS: "listener_manager.lds",
            CDS: "cluster_manager.cds",
            RDS: f"http.{NAME}.rds.{NAME}",
            SDS: f"sds.{SECRET}",
        }
        if file in fixed:
            return fixed[file]
        written = self.files.get(file)
        return f"cluster.{written.resources[0]['cluster_name'].replace(':', '_')}" if written else ""

    async def _reason(self, mark: int) -> str:
        """What the log says since `mark`, else what the configuration dump says."""
        for _ in range(20):
            lines = _since(self.log, mark)
            if said := [line for line in lines if "rejected" in line or "update failed" in line]:
                return _NOISE.sub("", said[-1])
            await asyncio.sleep(0.02)
        return await self._error_states() or f"no reason given; see {self.log}"

    async def _error_states(self) -> str:
        dump = json.dumps(await self.admin.config_dump())
        return "; ".join(cast("list[str]", re.findall(r'"details": ?"([^"]*)"', dump)))


def _state(values: dict[str, str]) -> Subscription:
    refusals = int(values.get("update_rejected", 0)) + int(values.get("update_failure", 0))
    return Subscription(values.get("version_text", ""), refusals)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _since(path: Path, mark: int) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(mark)
        return file.read(1024 * 1024).decode("utf-8", "replace").splitlines()
