"""A sample of the rows of a job as profiles, beside its ledger: what the report compares with the model's reference.

    OUTPUT/_argosy/profiles/ID     the profile of the sampled rows of one fragment

Every eighth call of the engine is sampled until a fragment has its share of `ROWS`; of many fragments only some have
one. So the whole costs no more than a second or two, however large the job is.
"""

from collections.abc import Mapping, Sequence

from argosy.batch.ledger import FOLDER
from argosy.batch.place import Place
from argosy.packaging.package import Package
from argosy.profiles import profile
from argosy.profiles.layout import Layout, layout
from argosy.profiles.profile import Profile
from argosy.profiles.recorder import Recorder
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array

ROWS = 50_000
LEAST = 512
EVERY = 8

LATER = 120.0
"""All rows carry the time 0."""


class Sample:
    """The sampled rows of fragment `number` of so many. `where` None: there are none."""

    def __init__(self, where: Layout | None, signature: Signature, version: str, number: int, fragments: int) -> None:
        self._outputs = [spec.name for spec in signature.outputs]
        self._left, self._calls = share(number, fragments), 0
        self._recorder = Recorder(where, version) if where is not None and self._left else None

    def add(self, feeds: Mapping[str, Array], outputs: Sequence[Array]) -> None:
        """Add the rows of one call of the engine, if it is one of those that are sampled."""
        self._calls += 1
        if self._recorder is None or self._left <= 0 or self._calls % EVERY != 1:
            return
        rows = slice(0, self._left)
        inputs = {name: array[rows] for name, array in feeds.items()}
        answers = {name: array[rows] for name, array in zip(self._outputs, outputs, strict=True)}
        self._left -= len(outputs[0])
        self._recorder.add(0.0, inputs, answers)

    def write(self, output: Place, fragment: str) -> None:
        """Write the profile of the rows that were added."""
        for found in self._recorder.take(LATER) if self._recorder is not None else ():
            _folder(output).join(fragment).put(profile.encode(found))


def share(number: int, fragments: int) -> int:
    """How many rows of a fragment are sampled: of every n-th as many, so that they are `LEAST` each or more."""
    every = -(-fragments * LEAST // ROWS)
    return every * ROWS // fragments if number % every == 0 else 0


def reference(package: Package) -> Layout | None:
    """The cells that a package's reference was counted in; None for one that was pushed without sample data."""
    found = package.profile()
    return layout(found, package.manifest.signature) if found is not None else None


def merged(output: Place, where: Layout) -> Profile | None:
    """All samples, as one; None where there are none. What cannot be read is left out."""
    parts: list[Profile] = []
    for file in _folder(output).walk():
        try:
            parts.append(profile.decode(file.read()))
        except InvalidArgument:
            continue
    fitting = [part for part in parts if part.layout == where.digest]
    return profile.merge(where, fitting) if fitting else None


def _folder(output: Place) -> Place:
    return output.join(f"{FOLDER}/profiles")
