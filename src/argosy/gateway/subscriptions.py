"""Whether Envoy has taken up what was written: each file's subscription, its version and its refusals."""

import asyncio
import contextlib
import re
import time
from pathlib import Path

import msgspec

from argosy.gateway.admin import Admin
from argosy.gateway.files import XdsFiles
from argosy.gateway.listener import NAME, SECRET
from argosy.gateway.snapshot import CDS, LDS, RDS, SDS
from argosy.process.envoy import Files
from argosy.spec.errors import ArgosyError, Unavailable

AGAIN_SECONDS = 1.0
LIMIT_SECONDS = 15.0
SUBSCRIPTIONS = {
    LDS: "listener_manager.lds",
    CDS: "cluster_manager.cds",
    RDS: f"http.{NAME}.rds.{NAME}",
    SDS: f"sds.{SECRET}",
}
"""File → its subscription; any other file is a cluster's."""
_LINE = re.compile(r'^(?P<name>.+)\.(?P<what>version_text|update_rejected|update_failure): "?(?P<value>[^"]*)"?$')
_NOISE = re.compile(r"^\[[^\]]*\]\[\d+\]\[\w+\]\[\w+\] (\[[^\]]*\] )?")


class Refused(ArgosyError):
    """Envoy did not accept what it was given."""

    code, http, grpc, exit = "gateway_refused", 500, 13, 1


class Subscription(msgspec.Struct, frozen=True):
    """The version in use, and how often something was refused."""

    version: str = ""
    refusals: int = 0


class Subscriptions:
    """Reads Envoy's statistics over the admin socket, and its log for the reason of a refusal."""

    def __init__(self, admin: Admin, files: XdsFiles, log: str) -> None:
        self.admin, self.files, self.log = admin, files, Path(log)

    async def states(self) -> dict[str, Subscription]:
        """Subscription (the prefix of its statistics) → state."""
        text = (await self.admin.get("/stats?filter=(version_text|update_rejected|update_failure)$")).decode()
        found: dict[str, dict[str, str]] = {}
        for line in text.splitlines():
            if match := _LINE.match(line):
                found.setdefault(match["name"], {})[match["what"]] = match["value"]
        return {
            name: Subscription(
                values.get("version_text", ""),
                int(values.get("update_rejected", 0)) + int(values.get("update_failure", 0)),
            )
            for name, values in found.items()
        }

    async def write(self, files: Files) -> None:
        """Writes these files and waits until each is in use. Raises Refused with Envoy's message, or Unavailable."""
        if not files:
            return
        before = await self.states()
        log_end = self.log_end()
        wanted = {file: self.files.write(file, resources) for file, resources in files.items()}
        await self._taken_up(wanted, before, log_end)

    def log_end(self) -> int:
        """The size of the log."""
        return self.log.stat().st_size if self.log.exists() else 0

    async def confirm(self, log_end: int) -> None:
        """Waits until every file is in use: after a start, before which the log ended at `log_end`."""
        await self._taken_up(self._versions(), {}, log_end)

    async def stale(self) -> set[str]:
        """Files whose version is not the one in use."""
        states = await self.states()
        return {file for file, version in self._versions().items() if self._of(file, states).version != version}

    def _versions(self) -> dict[str, str]:
        return {file: written.version_info for file in self.files.names() if (written := self.files.get(file))}

    async def _taken_up(self, wanted: dict[str, str], before: dict[str, Subscription], log_end: int) -> None:
        start = again = time.monotonic()
        while True:
            states = await self.states()
            waiting = {file for file, version in wanted.items() if self._of(file, states).version != version}
            refused = {f for f in wanted if self._of(f, states).refusals > self._of(f, before).refusals}
            if refused:
                raise Refused(f"Envoy refuses {', '.join(sorted(refused))}: {await self._reason(log_end)}")
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
        written = self.files.get(file)
        name = SUBSCRIPTIONS.get(file)
        if name is None and written is not None:
            name = f"cluster.{written.resources[0]['cluster_name'].replace(':', '_')}"
        return states.get(name or "", Subscription())

    async def _reason(self, log_end: int) -> str:
        for _ in range(20):
            with contextlib.suppress(FileNotFoundError), self.log.open("rb") as file:
                file.seek(log_end)
                lines = file.read(1024 * 1024).decode("utf-8", "replace").splitlines()
                if said := [line for line in lines if "rejected" in line or "update failed" in line]:
                    return _NOISE.sub("", said[-1])
            await asyncio.sleep(0.02)
        return f"no reason given; see {self.log}"
