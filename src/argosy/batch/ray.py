"""The Ray engine: fragments are done by a pool of actors on a Ray cluster, with the same work and the same ledger.

Ray may run a fragment again when a node is lost, and even twice at once: the entry in the ledger decides, so that this
costs time and nothing else. The output has to be a place that all nodes share, a bucket or a shared folder. Nodes need
argosy, not the package: its files travel through Ray's object store.
"""

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from argosy.batch.ledger import Entry
from argosy.batch.plan import Plan
from argosy.batch.sample import reference
from argosy.batch.work import Bench
from argosy.engines.base import require
from argosy.packaging.load import load
from argosy.packaging.package import open_package
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, Unavailable, table

RETRIES = 3
"""How often a fragment is begun anew after its actor is gone."""

NEED = "Batch on Ray"


class Answerer:
    """An actor: the engine of one process. Called with numbers of fragments, one at a time."""

    def __init__(self, plan: bytes, package: Sequence[Any], batch_size: int, threads: int) -> None:
        ray = require("ray", "ray", NEED)
        self._folder = tempfile.TemporaryDirectory(prefix="argosy-")
        with tarfile.open(fileobj=io.BytesIO(ray.get(package[0]))) as archive:
            archive.extractall(self._folder.name, filter="data")
        loaded = load(open_package(Path(self._folder.name)), threads=threads)
        self._bench = Bench(msgspec.json.decode(plan, type=Plan), loaded.engine, batch_size, reference(loaded.package))

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """The entries of fragments, or what went wrong, as JSON. A failure is an answer: Ray would try it again."""
        return {"told": [self._told(int(number)) for number in rows["number"]]}

    def _told(self, number: int) -> bytes:
        try:
            entry = self._bench.run(number, lambda _: None, lambda: False)
        except ArgosyError as error:
            return msgspec.json.encode(_Failure(error.code, error.message))
        return msgspec.json.encode(entry)


class _Failure(msgspec.Struct, frozen=True, tag="failure"):
    code: str
    message: str


def run(
    plan: Plan,
    package: Path,
    numbers: Sequence[int],
    done: Callable[[Entry], None],
    *,
    workers: int = 0,
    threads: int = 1,
    batch_size: int,
) -> None:
    """Do these fragments on the cluster of RAY_ADDRESS, one that runs on this machine, or one that is started for it.

    `workers` actors, 0: as many as have room, each with `threads` cores. `done` is called for each entry as it comes.
    Raises what the work raises, and Unavailable where the cluster is lost or has no room.
    """
    ray = require("ray", "ray", NEED)
    with _cluster(ray):
        actors = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // max(threads, 1))
        needed = ray.put(_packed(package))
        told = (
            ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
            .map_batches(
                Answerer,
                fn_constructor_args=(msgspec.json.encode(plan), [needed], batch_size, threads),
                batch_size=1,
                concurrency=(1, min(actors, len(numbers))),
                num_cpus=max(threads, 1),
                max_task_retries=RETRIES,
            )
            .iter_rows(prefetch_batches=0)
        )
        try:
            for row in told:
                done(_entry(row["told"]))
        except (ray.exceptions.RayError, ray.exceptions.RayTaskError) as error:
            raise Unavailable(
                f"the Ray cluster did not do the work: {_first_line(error)}; go on with --resume"
            ) from None


def _entry(data: bytes) -> Entry:
    with contextlib.suppress(msgspec.ValidationError):
        failure = msgspec.json.decode(data, type=_Failure)
        raise table().get(failure.code, Internal)(failure.message)
    return msgspec.json.decode(data, type=Entry)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines()[::-1] if line.strip()), type(error).__name__)[:300]


def _packed(package: Path) -> bytes:
    """The files of a package as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(package, arcname=".")
    return out.getvalue()


@contextlib.contextmanager
def _cluster(ray: Any) -> Generator[None]:
    """Joined to a cluster; one that was started for it is ended again."""
    require("ray.data", "ray", NEED)
    joined = bool(ray.is_initialized())
    if not joined:
        _join(ray)
    context = ray.data.DataContext.get_current()
    before, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        yield
    finally:
        context.enable_progress_bars = before
        if not joined:
            ray.shutdown()


def _join(ray: Any) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"logging_level": "WARNING", "log_to_driver": False}
    try:
        ray.init(address="auto", **settings)
    except ConnectionError as error:
        if os.environ.get("RAY_ADDRESS"):
            raise Unavailable(f"no Ray cluster answers at {os.environ['RAY_ADDRESS']}: {error}") from None
        ray.init(include_dashboard=False, **settings)
    except ValueError as error:
        raise InvalidArgument(f"RAY_ADDRESS: {error}") from None
