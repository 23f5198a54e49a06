"""What every engine is, and the checks they share."""

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from argosy.spec.errors import BadPackage, Internal, InvalidArgument
from argosy.spec.errors import require as require
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Array, as_bytes

Settings = Mapping[str, str | int | float | bool]


class Loading(NamedTuple):
    """What an engine loads. Without a signature, or with one without outputs, and with a `sample` (rows by input name)
    it finds out what it can. `trusted`: somebody vouches for code in it."""

    path: Path
    signature: Signature | None
    settings: Settings
    threads: int
    sample: Mapping[str, Array] | None = None
    trusted: bool = False


class Engine(ABC):
    """A loaded model. `releases_gil`: a long `predict` lets other threads of the process run. `parallel`: `predict` may
    be called from several threads at once."""

    signature: Signature
    releases_gil: bool = False
    parallel: bool = False

    @abstractmethod
    def predict(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Arrays by input name → the outputs in the order of the signature, of the declared dtypes.

        The inputs fit the signature (`spec.signature.check_inputs`); that is not checked again. Raises InvalidArgument
        where the model objects to a value, Internal where the model fails or answers something else than it declared.
        """

    def use(self, signature: Signature) -> None:
        """Answer under this signature from now on."""
        self.signature = signature

    def more(self, inputs: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
        """As `predict`: the outputs of these names, which are among those `on_request`."""
        raise Internal(f"this model calculates no {', '.join(names)}")

    def answer(self, inputs: Mapping[str, Array], names: Sequence[str] = ()) -> list[Array]:
        """The outputs of these names, in their order; `predict` where there is no name. Raises as `predict`, and
        InvalidArgument for a name that the signature does not have."""
        if not names:
            return self.predict(inputs)
        wanted = self.signature.chosen(names)
        always = self.predict(inputs) if any(spec in self.signature.outputs for spec in wanted) else []
        return self.select(inputs, names, always)

    def select(self, inputs: Mapping[str, Array], names: Sequence[str], given: Sequence[Array]) -> list[Array]:
        """The outputs of these names, in their order: those that `predict` has `given`, and `more`."""
        known = dict(zip((spec.name for spec in self.signature.outputs), given, strict=False))
        if more := [name for name in names if name not in known]:
            known |= zip(more, self.more(inputs, more), strict=True)
        return [known[name] for name in names]

    def weigh(self, inputs: Mapping[str, Array], rows: int) -> int:
        """How many rows of an ordinary size a request counts for in a batch: of models that take longer for some."""
        return rows

    @property
    def examples(self) -> Mapping[str, Array] | None:
        """Rows that tell more of the model than made-up ones do, by input name."""
        return None

    def close(self) -> None:  # noqa: B027
        """Give back what the model holds. The engine is not used afterwards."""


class Loose(Engine):
    """An engine whose framework gives arrays by name, in whatever dtype it likes: they are brought to the signature."""

    @abstractmethod
    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Arrays by input name → arrays by output name."""

    def predict(self, inputs: Mapping[str, Array]) -> list[Array]:
        rows = rows_of(inputs) if self.signature.batched else None
        found = self.run(inputs)
        return [conform(spec, found.get(spec.name), rows) for spec in self.signature.outputs]


def rows_of(inputs: Mapping[str, Array]) -> int:
    """Axis 0 of the first input."""
    return next(iter(inputs.values())).shape[0]


def conform(spec: TensorSpec, array: Array | None, rows: int | None) -> Array:
    """The array in the datatype declared (casts within one kind only); Internal says what does not fit."""
    if array is None:
        raise Internal(f"the model gave no output '{spec.name}'")
    check_shape(spec, array, rows)
    if spec.datatype == "BYTES":
        return as_bytes(array)
    wanted = NUMPY[spec.datatype]
    if array.dtype == wanted:
        return array
    try:
        return array.astype(wanted, casting="same_kind")
    except TypeError:
        message = f"output '{spec.name}' has dtype {array.dtype}; the signature says {spec.datatype}"
        raise Internal(message) from None


def check_shape(spec: TensorSpec, array: Array, rows: int | None) -> None:
    """Raise Internal unless the shape is the declared one, with as many rows as were given (None: not counted)."""
    if not spec.accepts(array.shape):
        raise Internal(f"output '{spec.name}' has shape {list(array.shape)}; the signature says {list(spec.shape)}")
    if rows is not None and array.shape[0] != rows:
        raise Internal(f"output '{spec.name}' has {array.shape[0]} rows for {rows} rows of input")


def check_signature(given: Signature, real: Signature, model: str, *, named: bool = True) -> None:
    """Raise BadPackage unless `given` speaks of the tensors that the model has, which are `real`. Where these are not
    `named`, there are as many, in the same order, with the same shapes; else -1 stands for any length."""
    for side, wanted, found in (("input", given.inputs, real.inputs), ("output", given.outputs, real.outputs)):
        if not named and len(wanted) != len(found):
            raise BadPackage(f"the signature has {len(wanted)} {side}s; {model} has {len(found)}")
        keys = found if named else wanted
        known = {key.name: one for key, one in zip(keys, found, strict=True)}
        for spec in wanted:
            one = known.get(spec.name)
            if one is None:
                raise BadPackage(f"the signature has an {side} '{spec.name}'; {model} has {', '.join(known)}")
            if one.datatype != spec.datatype or not (spec.shape == one.shape or (named and _fits(spec, one))):
                raise BadPackage(
                    f"the signature's {side} '{spec.name}' is {spec.datatype} {list(spec.shape)}; "
                    f"that of {model} is {one.datatype} {list(one.shape)}"
                )
            if spec.columns and one.columns and spec.columns != one.columns:
                raise BadPackage(f"the signature's columns of '{spec.name}' are not the model's, or in another order")
    if named and (missing := {spec.name for spec in real.inputs} - {spec.name for spec in given.inputs}):
        raise BadPackage(f"the signature lacks the input '{min(missing)}' of {model}")


def _fits(spec: TensorSpec, real: TensorSpec) -> bool:
    pairs = zip(spec.shape, real.shape, strict=False)
    return len(spec.shape) == len(real.shape) and all(a == b or -1 in (a, b) for a, b in pairs)


def check_settings(settings: Settings, **known: type) -> None:
    """Raise InvalidArgument for a setting this engine does not have, or one of another type."""
    for name, value in settings.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known) or 'none'}"
            raise InvalidArgument(f"this engine has no setting '{name}'; {hint}")
        if not isinstance(value, known[name]):
            raise InvalidArgument(f"setting '{name}' must be {known[name].__name__}, not {type(value).__name__}")


def check_file(path: Path, what: str) -> int:
    """The size in bytes of a model file. Raises BadPackage unless there is a file, and it is not empty."""
    if path.is_dir():
        raise BadPackage(f"{path.name} is a folder; {what} is one file")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadPackage(f"cannot read {path.name}: {error.strerror}") from None
    if size == 0:
        raise BadPackage(f"{path.name} is empty; {what} was expected")
    return size


_SOURCE = re.compile(r"(\[\d\d:\d\d:\d\d\] )?(?<!\S)\S{1,300}\.(cc|cpp|cu|h|hpp):\d+(:\d+)?:? |^\[LightGBM\] \[\w+\] ")
"""Times and places in C++ sources, with which frameworks begin their messages."""
LONGEST = 20_000
"""Characters of a message that are read: a model's own code may write what it likes."""
_CHECK = re.compile(r"Check failed: .*?(?: \(.{1,100}? vs\. .{1,100}?\))? ?:(?: |$)")
"""A condition of a C++ source that did not hold; the sentence behind it, if there is one, is for people."""
_WORDLESS = re.compile(r"[\w:<>~]*::[\w:<>~]*")


def short(error: BaseException, limit: int = 400) -> str:
    """What a framework said, on one line and bounded: its own sentence, without stack trace, conditions and places in
    its sources. Its whole text is what `--debug` shows."""
    said = " ".join(_SOURCE.sub("", str(error)[:LONGEST].split("Stack trace:")[0]).split())
    text = _CHECK.sub("", said).strip()
    if said and (not text or _WORDLESS.fullmatch(text)):
        text = "it gives no reason in words; a damaged file, or one of another version, is likely (see --debug)"
    text = text or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
