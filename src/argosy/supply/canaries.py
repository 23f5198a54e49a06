"""Requests whose answers are known, among those of everybody else, through the gateway: does each replica answer as the
package does?

A canary is rows of the golden examples, in an order and number of its own, at a time that nobody can foresee; it looks
as any request of a client does. The gateway says which replica answered, so that each has a score. What is not
answered, or by another revision, says nothing of a replica.
"""

import random
from typing import NamedTuple

import httpx
import numpy as np

from argosy.packaging.golden import ALONE, compare
from argosy.packaging.package import Package, check_tensors
from argosy.protocol.rest import JSON, OCTETS, Output, Request, decode_response, encode_request, parse_header_length
from argosy.spec.errors import ArgosyError, GoldenMismatch
from argosy.spec.package import Tolerance
from argosy.spec.tensor import Tensor
from argosy.supply.hosts import RULES, Score, answered, share

LENGTH = "inference-header-content-length"


class Canary(NamedTuple):
    """What is asked, and what a host has to answer."""

    inputs: list[Tensor]
    outputs: list[Tensor]


class Canaries:
    """Those of one endpoint, at `url`, whose package is `package` and whose serving revision has the id `revision`."""

    def __init__(
        self, package: Package, revision: str, client: httpx.Client, url: str, numbers: random.Random | None = None
    ) -> None:
        self.package, self.revision = check_tensors(package), revision
        self.scores: dict[str, Score] = {}
        self._client, self._url, self._random = client, url, numbers or random.SystemRandom()
        given = package.manifest.tolerance
        self._tolerance = Tolerance(atol=max(given.atol, ALONE.atol), rtol=max(given.rtol, ALONE.rtol))

    def draw(self) -> Canary:
        """Rows in a new order, or all of them as they are where rows are no batch."""
        inputs, outputs = self.package.golden_inputs(), self.package.golden_outputs()
        if not self.package.manifest.signature.batched or not inputs:
            return Canary(inputs, outputs)
        rows = len(inputs[0].array)
        count = min(rows, 1 + int(self._random.expovariate(1 / 2)))
        chosen = np.array(self._random.sample(range(rows), count))
        taken = [[Tensor(t.name, t.datatype, t.array[chosen]) for t in side] for side in (inputs, outputs)]
        return Canary(*taken)

    def once(self) -> str:
        """Send one, and count what is heard; what was wrong with it, or why it says nothing. Raises httpx.HTTPError."""
        canary = self.draw()
        named = self.package.manifest.signature.on_request
        body, length = encode_request(
            Request(canary.inputs, outputs=[Output(t.name) for t in canary.outputs] if named else [])
        )
        headers = {"content-type": JSON} if length is None else {"content-type": OCTETS, LENGTH: str(length)}
        answer = self._client.post(self._url, content=body, headers=headers)
        replica = answer.headers.get("x-argosy-replica", "")
        if answer.status_code != 200 or not replica or answer.headers.get("x-argosy-revision") != self.revision:
            return f"status {answer.status_code}, of revision {answer.headers.get('x-argosy-revision', '-')}"
        why = self._differs(canary, answer)
        self.scores[replica] = answered(self.scores.get(replica, Score()), not why)
        return why

    def _differs(self, canary: Canary, answer: httpx.Response) -> str:
        try:
            length = parse_header_length(answer.headers.get(LENGTH), len(answer.content))
            found = {tensor.name: tensor.array for tensor in decode_response(answer.content, length).tensors}
            compare(canary.outputs, [found[tensor.name] for tensor in canary.outputs], self._tolerance)
        except KeyError as error:
            return f"there is no output {error}"
        except GoldenMismatch as error:
            return error.message
        except ArgosyError as error:
            return f"its answer cannot be read: {error.message}"
        return ""

    def pause(self, calm: float) -> float:
        """Seconds until the next one: `calm` on average while nothing speaks against any replica, less while something
        does."""
        most = max((share(score) for score in self.scores.values() if not score.evicted), default=0.0)
        return self._random.expovariate(max(1.0, most / RULES.calm) / calm)
