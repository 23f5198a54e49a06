"""Models of the table on a platform as users run it, beside their libraries: deployed, asked through the gateway."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from argosy.client import Client
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push
from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.models.table import DATA, DEPLOYED, MODELS
from tests.models.test_models import check, original, rows_of
from tests.platform.up import Up, home, settings, start, store

__all__ = ["home", "settings", "start", "store"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.filterwarnings("ignore")]


async def test_deployed_models_answer_as_their_libraries(
    home: Home, store: Store, start: Callable[..., Up], tmp_path: Path
) -> None:
    platform = await asyncio.to_thread(start().ready)
    for place, name in enumerate(DEPLOYED):
        model = next(one for one in MODELS if one.name == name)
        x, y = DATA[model.data]()
        fitted = model.fitted(x, y)
        frame = pd.DataFrame(x, columns=[f"c{c}" for c in range(x.shape[1])]) if isinstance(x, np.ndarray) else x
        frame.to_parquet(tmp_path / "x.parquet")
        options = PushOptions(sample=tmp_path / "x.parquet", trust="catboost" in name)
        push(model.save(fitted, tmp_path), name=f"m{place}", store=store, options=options, report=lambda line: None)
        body = {"model": f"m{place}:1", "replicas": 1}
        path = f"/v1/endpoints/m{place}"
        told = await asyncio.to_thread(platform.call, "PUT", path, body, wait=60)
        assert told["endpoint"]["state"] == "ready", told
        rows = rows_of(x)
        want = original(fitted, rows, model.file)
        asked = pd.DataFrame(rows, columns=frame.columns)
        with Client(told["url"], key=told["key"]) as client:
            for binary in (False, True):
                got = await asyncio.to_thread(client.predict, f"m{place}", asked, binary=binary)
                check(got, want, f"{name}, binary={binary}")
        await asyncio.to_thread(platform.call, "DELETE", path)
    assert await asyncio.to_thread(platform.stop) == 0
