"""What a check asserts. Each function raises Failed, or returns the note of a documented alternative."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from argosy_conformance.check import Failed
from argosy_conformance.tensors import FLOATS, Tensor
from argosy_conformance.transport import Answer


def that(condition: object, message: str) -> None:
    """Raise Failed with this message unless the condition holds."""
    if not condition:
        raise Failed(message)


def ok(answer: Answer) -> Answer:
    """Status 200."""
    that(answer.status == 200, f"expected 200, saw {answer.seen()}")
    return answer


def error(
    answer: Answer | None, strict: Sequence[int], accepted: Sequence[int] = (), *, body: bool = True
) -> str | None:
    """A failure with the status of the contract and a body `{"error": text}` in JSON."""
    if answer is None:
        raise Failed(f"expected {_one_of(strict)}, the connection was closed without an answer")
    that(answer.status in (*strict, *accepted), f"expected {_one_of(strict)}, saw {answer.seen()}")
    if body:
        error_body(answer)
    return None if answer.status in strict else f"{answer.status} instead of {_one_of(strict)}"


def error_body(answer: Answer) -> str:
    """`{"error": non-empty text}`, with the JSON content type."""
    value = answer.object()
    text = value.get("error")
    that(isinstance(text, str) and text, f'expected a body {{"error": text}}, saw {answer.seen()}')
    kind = answer.headers.get("content-type", "")
    that("json" in kind, f"the error body has content type {kind!r} instead of application/json")
    return cast("str", text)


def refused(answer: Answer | None) -> str | None:
    """Any 4xx with an error body."""
    if answer is None:
        raise Failed("expected a 4xx, the connection was closed without an answer")
    that(400 <= answer.status < 500, f"expected a 4xx, saw {answer.seen()}")
    error_body(answer)
    return None


def same(seen: Tensor, want: Tensor, what: str = "the output") -> None:
    """The same datatype, shape and bits; names may differ."""
    that(seen.datatype == want.datatype, f"{what} has datatype {seen.datatype}, expected {want.datatype}")
    that(seen.shape == want.shape, f"{what} has shape {list(seen.shape)}, expected {list(want.shape)}")
    that(seen.raw == want.raw, f"{what} differs: {_short(seen)}, expected {_short(want)}")


def same_all(seen: Mapping[str, Tensor], want: Mapping[str, Tensor], what: str) -> None:
    """The same outputs, bit by bit."""
    that(list(seen) == list(want), f"{what}: outputs {list(seen)}, expected {list(want)}")
    for name, tensor in want.items():
        same(seen[name], tensor, f"{what}: output '{name}'")


def close_all(seen: Mapping[str, Tensor], want: Mapping[str, Tensor], what: str) -> str | None:
    """The same outputs bit by bit; floats that agree to 1e-4 are noted, as kernels differ with the batch size."""
    note: str | None = None
    that(list(seen) == list(want), f"{what}: outputs {list(seen)}, expected {list(want)}")
    for name, tensor in want.items():
        got = seen[name]
        if got.raw != tensor.raw and got.shape == tensor.shape and tensor.datatype in FLOATS and near(got, tensor):
            note = f"output '{name}' agrees to 1e-4, not bit by bit"
        else:
            same(got, tensor, f"{what}: output '{name}'")
    return note


def near(left: Tensor, right: Tensor) -> bool:
    """Whether two float tensors agree to 1e-4, relative or absolute."""
    pairs = zip(cast("list[float]", left.values()), cast("list[float]", right.values()), strict=True)
    return all(a == b or abs(a - b) <= 1e-4 * max(1.0, abs(b)) or (a != a and b != b) for a, b in pairs)


def field(value: Mapping[str, Any], name: str, kind: type[Any], where: str) -> Any:
    """A required member of a JSON object with the right type."""
    found = value.get(name)
    that(isinstance(found, kind), f"{where}: '{name}' must be a {kind.__name__}, saw {found!r}")
    return found


def _one_of(statuses: Sequence[int]) -> str:
    return " or ".join(map(str, statuses))


def _short(tensor: Tensor) -> str:
    text = repr(tensor.values()[:6])
    return text if len(text) < 160 else text[:160] + "…"
