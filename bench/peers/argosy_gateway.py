"""Argosy's gateway with its key, quota, usage and access log in front of an engine, without the rest of the platform:
`PYTHON -m bench.peers.argosy_gateway ENGINE_PORT PORT KEY FOLDER`, until SIGTERM."""

import asyncio
import hashlib
import json
import signal
import sys
from pathlib import Path

import msgspec

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig, RevisionRoute, Upstream
from argosy.quota.server import PricedEndpoint, QuotaConfig, config_file, quota_socket
from argosy.spec.address import Address
from argosy.spec.language import Price, TokenLimits
from argosy.spec.settings import Home
from argosy.store.database import Database

LIMITS = TokenLimits(tokens_per_minute=10**10, tokens_per_month=10**12, money_per_month=1e9)
"""Counted for every request, reached by none."""


async def serve(engine: int, port: int, key: str, folder: Path) -> None:
    home, log = Home(folder / "home"), str(folder / "access.log")
    home.create()
    url = f"sqlite:///{folder / 'd.db'}"
    home.config.write_text(json.dumps({"store": {"database": url}}))
    Database(url).create().close()
    told = QuotaConfig(log=log, keys={"k": LIMITS}, endpoints={"gemma": PricedEndpoint(price=Price(input=1, output=2))})
    config_file(home.run).write_bytes(msgspec.json.encode(told))
    quota = str(quota_socket(home.run))
    gateway = Gateway(GatewayConfig(run_dir=str(folder / "gw"), port=port, access_log=log, quota=quota))
    up = Upstream(replica="r", http=Address(path=str(folder / "none")), engine=Address(host="127.0.0.1", port=engine))
    revision = RevisionRoute(revision="r1", version="1", weight=1, language=True, upstreams=(up,))
    keys = [ApiKey(id="k", sha256=hashlib.sha256(key.encode()).hexdigest(), limits="closed")]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ledger = await asyncio.create_subprocess_exec(sys.executable, "-m", "argosy.quota", str(home.root))
    try:
        await gateway.start([EndpointRoute(endpoint="gemma", revisions=(revision,))], keys)
        await stop.wait()
        await gateway.stop(0.5)
    finally:
        ledger.kill()
        await ledger.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
