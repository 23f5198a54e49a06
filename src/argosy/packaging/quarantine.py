"""Runs functions of ours on a model in a child process that can do little harm and be killed whole.

The child is in a sandbox (`argosy.process.sandbox`): beside the libraries it reads the files that its jobs name, and
writes into the folders that they name and an empty one of its own. Limits on memory, processor time and file size keep
a model that crashes, hangs or eats memory from taking the platform with it.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from argosy.packaging import environment
from argosy.process.child import ONE_THREAD, Child
from argosy.process.cores import cores
from argosy.process.sandbox import Policy
from argosy.spec.errors import BadPackage

GIB = 1024**3
T = TypeVar("T")


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on the child: wall-clock seconds for each job, bytes of address space and of one written file."""

    seconds: float = 600.0
    address_space: int = 16 * GIB
    file_size: int = 64 * GIB


_JOBS = 5
"""Jobs whose processor time one child may use, at most."""
_WRITTEN = "into"
"""The field of a job that names the folder it writes to."""
_ENVIRONMENT = ONE_THREAD | {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}


class Quarantine(Child):
    """One child process for one model, called `what` in messages. It starts at the first job and ends with the `with`.

    Jobs share the child, and so what is imported in it. Answers stay here: what a later job does cannot change an
    earlier one. A child that dies, hangs or answers nonsense is BadPackage. `reads`, `writes`: what jobs will name;
    `packages`: the environment of what the model requires.
    """

    def __init__(
        self,
        what: str,
        limits: Limits | None = None,
        nice: int = 0,
        reads: Iterable[str] = (),
        writes: str = "",
        packages: Path | None = None,
    ) -> None:
        self.limits = limits or Limits()
        environ = _ENVIRONMENT | environment.variables(packages)
        super().__init__(
            what, timeout=self.limits.seconds, failure=BadPackage, policy=Policy(), environ=environ, nice=nice
        )
        self._reads = frozenset((*reads, str(packages)) if packages else reads)
        self._writes = frozenset((writes,) if writes else ())

    def run(self, function: str, job: msgspec.Struct, answer: type[T]) -> T:
        """See `Child.run`. Let the child at what the job names. One that runs already cannot be let at more: the next
        one is."""
        named = msgspec.structs.asdict(job)
        writes = {named[_WRITTEN]} if named.get(_WRITTEN) else set[str]()
        reads = {each for each in named.values() if isinstance(each, str) and os.path.isabs(each)} - writes
        if weights := named.get("weights"):
            reads.add(os.path.dirname(weights))  # an ONNX file may have its data beside it
        if not (_within(reads, self._reads) and _within(writes, self._writes)):
            self.close()
            self._reads, self._writes = self._reads | reads, self._writes | writes
        self.policy = Policy(
            reads=tuple(self._reads),
            writes=tuple(self._writes),
            limits=(
                ("address_space", self.limits.address_space),
                ("cpu", (int(self.limits.seconds) + 1) * _JOBS * cores()),
                ("file_size", self.limits.file_size),
            ),
        )
        return super().run(function, job, answer)


def _within(paths: Iterable[str], places: Iterable[str]) -> bool:
    return all(any(path == each or path.startswith(each + os.sep) for each in places) for path in paths)
