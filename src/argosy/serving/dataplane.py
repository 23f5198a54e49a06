"""The data plane: everything the protocol can ask, once, for every transport.

Transports decode, call one of these, and encode. Errors are ArgosyError; the transport knows its status from the table.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import argosy
from argosy.protocol.rest import Request, Response
from argosy.serving.answers import Answers
from argosy.serving.model import NO_HEADERS, ServedModel
from argosy.serving.offload import Offload
from argosy.serving.repository import Repository
from argosy.spec.errors import Unavailable
from argosy.spec.signature import TensorSpec

if TYPE_CHECKING:
    from argosy.serving.tracer import Tracer

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics", "classification")


class DataPlane:
    """Answers for one repository. `answers` are kept where the platform asks for them: on Unix sockets. `tracer` sends
    the spans of what is sampled. Large bodies, of at most `limit` bytes, are worked on off the event loop."""

    def __init__(
        self,
        repository: Repository,
        limit: int,
        answers: Answers | None = None,
        tracer: "Tracer | None" = None,
    ) -> None:
        self.repository = repository
        self.limit = limit
        self.offload = Offload(limit)
        self.answers = answers
        self.tracer = tracer

    async def infer(
        self,
        name: str,
        version: str,
        request: Request,
        timeout: float | None = None,
        headers: Mapping[bytes, bytes] = NO_HEADERS,
    ) -> Response:
        """Run a request. Raises NotFound, InvalidArgument, Unavailable, DeadlineExceeded, Internal."""
        return await self.model(name, version).infer(request, timeout, headers)

    def model(self, name: str, version: str = "") -> ServedModel:
        """The model that would answer now. Raises NotFound, and Unavailable while draining."""
        if self.repository.draining:
            raise Unavailable("this replica is shutting down", retry_after=1)
        return self.repository.get(name, version)

    def live(self) -> bool:
        """False when an engine call has taken longer than `runtime.hang_timeout`: only a restart helps."""
        return all(m.batcher.stuck_for() < m.runtime.hang_timeout for m in self.repository.models())

    def ready(self) -> bool:
        """Whether every model is loaded and requests are taken."""
        return self.repository.ready

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether this model takes requests. Raises NotFound."""
        self.repository.get(name, version)
        return self.repository.ready

    def server_metadata(self) -> dict[str, Any]:
        """Name, version, extensions."""
        return {"name": "argosy", "version": argosy.__version__, "extensions": list(EXTENSIONS)}

    def model_metadata(self, name: str, version: str = "") -> dict[str, Any]:
        """Name, versions, platform, inputs and outputs. Raises NotFound."""
        model = self.repository.get(name, version)
        return {
            "name": model.name,
            "versions": self.repository.versions(name),
            "platform": model.platform,
            "inputs": [_tensor(spec) for spec in model.signature.inputs],
            "outputs": [_tensor(spec) for spec in model.signature.outputs],
        }

    def model_config(self, name: str, version: str = "") -> dict[str, Any]:
        """Triton's model configuration, as far as it has a meaning here. Raises NotFound."""
        model = self.repository.get(name, version)
        batched = model.signature.batched
        return {
            "name": model.name,
            "platform": model.platform,
            "backend": "argosy",
            "max_batch_size": model.runtime.max_batch_size if batched else 0,
            "input": [_config_tensor(spec, batched) for spec in model.signature.inputs],
            "output": [_config_tensor(spec, batched) for spec in model.signature.outputs],
            "dynamic_batching": {"max_queue_delay_microseconds": int(model.runtime.max_queue_delay * 1e6)},
        }

    def statistics(self, name: str = "", version: str = "") -> list[dict[str, Any]]:
        """Counters of one model or of all. Raises NotFound."""
        if name and not version:
            models = [self.repository.get(name, found) for found in self.repository.versions(name)]
            models = models or [self.repository.get(name)]
        else:
            models = [self.repository.get(name, version)] if name else self.repository.models()
        return [_statistics(model) for model in models]

    def index(self, only_ready: bool = False) -> list[dict[str, str]]:
        """The repository index."""
        return [
            {"name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason}
            for entry in self.repository.index()
            if entry.state == "READY" or not only_ready
        ]


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    """Name, datatype, shape; and, as parameters, what a client needs to turn rows with named columns into tensors."""
    known: dict[str, Any] = {"columns": list(spec.columns), "nullable": spec.nullable, "optional": spec.optional}
    parameters = {name: value for name, value in known.items() if value}
    entry: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
    return entry | {"parameters": parameters} if parameters else entry


def _config_tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape[1:] if batched else spec.shape)}


def _statistics(model: ServedModel) -> dict[str, Any]:
    stats = model.stats
    failed = sum(stats.failures.values())
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": stats.last_inference_ms,
        "inference_count": stats.rows,
        "execution_count": stats.batches,
        "inference_stats": {
            "success": {"count": stats.success, "ns": stats.success_ns},
            "fail": {"count": failed, "ns": stats.fail_ns},
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
