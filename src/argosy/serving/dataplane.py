"""The data plane: the models of a replica and everything they can be asked, once, for every transport.

Transports decode, call one of these, and encode. Errors are ArgosyError; the transport knows its status from the table.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import argosy
from argosy.serving.answers import Answers
from argosy.serving.counts import ReplicaCounts
from argosy.serving.model import ServedModel
from argosy.serving.offload import Offload
from argosy.spec.errors import NotFound, Unavailable, Unsupported
from argosy.spec.signature import TensorSpec

if TYPE_CHECKING:
    from argosy.serving.line import UpgradeDoor
    from argosy.serving.tracer import Tracer

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics", "classification")


class DataPlane:
    """Models by name and version. `answers` are recorded where the platform alone can call. `tracer`
    sends the spans of sampled requests; at `door` a recorder comes over the network. Bodies have at most `limit` bytes;
    large ones are processed off the event loop.
    """

    def __init__(self, limit: int, answers: Answers | None = None, tracer: "Tracer | None" = None) -> None:
        self._models: dict[str, dict[str, ServedModel]] = {}
        self._loading: set[str] = set()
        self.draining = False
        self.limit = limit
        self.offload = Offload(limit)
        self.answers = answers
        self.tracer = tracer
        self.door: UpgradeDoor | None = None

    def expect(self, name: str) -> None:
        """Announce a model that is loading: requests for it are answered with 503 rather than 404."""
        self._loading.add(name)

    def add(self, model: ServedModel) -> None:
        """Serve this model beside other versions of it."""
        model.answers = self.answers
        if self.tracer is not None:
            model.trace(self.tracer)
        self._models.setdefault(model.name, {})[model.version] = model
        self._loading.discard(model.name)

    def remove(self, name: str) -> list[ServedModel]:
        """Serve a model no more, or expect it no more: its versions, which the caller closes."""
        self._loading.discard(name)
        return list(self._models.pop(name, {}).values())

    def get(self, name: str, version: str = "") -> ServedModel:
        """The model, in its highest version unless one is named. Raises NotFound, and Unavailable while it loads."""
        versions = self._models.get(name)
        if versions is None:
            if name in self._loading:
                raise Unavailable(f"model '{name}' is loading", retry_after=1)
            raise NotFound(f"unknown model '{name[:80]}'; this server has {', '.join(sorted(self._models)) or 'none'}")
        if not version:
            return versions[max(versions, key=_order)]
        if version not in versions:
            raise NotFound(f"model '{name}' has no version '{version[:80]}'; it has {', '.join(versions)}")
        return versions[version]

    def model(self, name: str, version: str = "") -> ServedModel:
        """The model that would answer now. Raises NotFound, and Unavailable while it loads or the replica drains."""
        if self.draining:
            raise Unavailable("this replica is shutting down", retry_after=1)
        return self.get(name, version)

    def only(self) -> ServedModel:
        """The model, where there is one alone. Raises as `model` does."""
        names = {*self._models, *self._loading}
        if len(names) == 1:
            return self.model(*names)
        raise NotFound(f"this path names no model, and there are {len(names)} here: use /v1/models/NAME:predict")

    def models(self) -> list[ServedModel]:
        return [model for versions in self._models.values() for model in versions.values()]

    def live(self) -> bool:
        """False when an engine call has taken longer than `runtime.hang_timeout`: only a restart helps."""
        return all(model.batcher.stuck_for() < model.runtime.hang_timeout for model in self.models())

    def ready(self) -> bool:
        """Whether requests are taken: every expected model is loaded and no shutdown has begun."""
        return bool(self._models) and not self._loading and not self.draining

    def ask(self, operation: str, name: str = "", version: str = "", only_ready: bool = False) -> dict[str, Any]:
        """The answer of an operation other than inference, as the fields of its gRPC message. Raises NotFound,
        Unavailable, Unsupported."""
        match operation:
            case "live":
                return {"live": self.live()}
            case "ready":
                return {"live": self.live(), "ready": self.ready()}
            case "model_ready":
                return {"name": self.get(name, version).name, "ready": self.ready()}
            case "model":
                return self._metadata(self.get(name, version))
            case "config":
                return {"config": _config(self.get(name, version))}
            case "names":
                return {"models": sorted(self._models)}
            case "stats":
                return {"model_stats": [_statistics(model) for model in self._named(name, version)]}
            case "index":
                return {"models": self._index(only_ready)}
            case "load" | "unload":
                raise Unsupported("this server serves fixed models: load and unload are not permitted here")
            case _:
                return {"name": "argosy", "version": argosy.__version__, "extensions": list(EXTENSIONS)}

    def counts(self) -> dict[str, dict[str, ReplicaCounts]]:
        """Model → version → its counts."""
        return {
            name: {version: model.counts() for version, model in versions.items()}
            for name, versions in self._models.items()
        }

    async def drain(self, timeout: float) -> None:
        """Take no new requests and wait, at most `timeout` seconds, until those taken are answered."""
        self.draining = True
        closing = [asyncio.ensure_future(model.close()) for model in self.models()]
        if closing:
            await asyncio.wait(closing, timeout=timeout)

    def _named(self, name: str, version: str) -> list[ServedModel]:
        if not name:
            return self.models()
        if version or name not in self._models:
            return [self.get(name, version)]
        return [self._models[name][each] for each in sorted(self._models[name], key=_order)]

    def _metadata(self, model: ServedModel) -> dict[str, Any]:
        return {
            "name": model.name,
            "versions": sorted(self._models[model.name], key=_order),
            "platform": model.platform,
            "inputs": [_tensor(spec) for spec in model.signature.inputs],
            "outputs": [_tensor(spec) for spec in model.signature.every_output],
        }

    def _index(self, only_ready: bool) -> list[dict[str, str]]:
        ready = [{"name": m.name, "version": m.version, "state": "READY", "reason": ""} for m in self.models()]
        loading = [{"name": name, "version": "", "state": "LOADING", "reason": ""} for name in self._loading]
        return ready if only_ready else ready + loading


def _order(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else -1, version)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    """Name, datatype, shape; and, as parameters, what a client needs to turn rows with named columns into tensors, and
    scores into names of classes."""
    known: dict[str, Any] = {
        "columns": list(spec.columns),
        "classes": list(spec.classes),
        "nullable": spec.nullable,
        "optional": spec.optional,
        "semantic": spec.semantic,
    }
    parameters = {name: value for name, value in known.items() if value}
    entry: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
    return entry | {"parameters": parameters} if parameters else entry


def _config(model: ServedModel) -> dict[str, Any]:
    """Triton's model configuration, as far as it has a meaning here."""
    batched = model.signature.batched

    def tensor(spec: TensorSpec) -> dict[str, Any]:
        kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
        return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape[1:] if batched else spec.shape)}

    return {
        "name": model.name,
        "platform": model.platform,
        "backend": "argosy",
        "max_batch_size": model.runtime.max_batch_size if batched else 0,
        "input": [tensor(spec) for spec in model.signature.inputs],
        "output": [tensor(spec) for spec in model.signature.outputs],
        "dynamic_batching": {"max_queue_delay_microseconds": int(model.runtime.max_queue_delay * 1e6)},
    }


def _statistics(model: ServedModel) -> dict[str, Any]:
    stats = model.stats
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": stats.last_inference_ms,
        "inference_count": stats.rows,
        "execution_count": stats.batches,
        "inference_stats": {
            "success": {"count": stats.success, "ns": stats.success_ns},
            "fail": {"count": sum(stats.failures.values()), "ns": stats.fail_ns},
            "queue": {"count": stats.success, "ns": stats.queue_ns},
            "compute_input": {"count": stats.batches, "ns": stats.merge_ns},
            "compute_infer": {"count": stats.batches, "ns": stats.infer_ns},
            "compute_output": {"count": stats.batches, "ns": stats.split_ns},
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": {"count": count, "ns": merge},
                "compute_infer": {"count": count, "ns": infer},
                "compute_output": {"count": count, "ns": split},
            }
            for size, (count, merge, infer, split) in sorted(stats.batch_sizes.items())
        ],
    }
