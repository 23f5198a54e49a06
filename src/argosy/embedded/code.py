"""What a generator gives: C99 for one model, and what its header, self-test, wrappers and report have to know of it.

The contract of all generated C:

- `int NAME_predict(const float *IN…, TYPE *OUT…)` answers one row: first a pointer for each input port, then one for
  each output port, in the order of `inputs` and `outputs`. 0: answered. 1: the model does not answer this row (a
  missing value it has no rule for, a category it does not know); nothing was written.
- No malloc, no libc but `<stdint.h>`, no file, no state that one call leaves to the next unless `ram` is more than 0:
  then the function has static buffers, and one call at a time may run.
- `NAME.c` and `NAME.h` are all there is to compile; every other file is for tests.
"""

import re
from importlib import resources
from typing import Literal

import msgspec

from argosy.spec.errors import InvalidArgument

Kind = Literal[
    "float", "int32_t", "double", "int8_t", "int16_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t"
]
"""Of generated C the first two; the others are ports of onnxruntime."""

_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main
"""
KEYWORDS = frozenset(_KEYWORDS.split())


_OWN = """
a i j k p q at best columns found gaps high leaf leaves left limit limits low labels mean middle more most node nodes
place power rank right roots row sets shares spread starts sum take targets thresholds total value walk
"""
OWN = frozenset(_OWN.split())
"""Names that generated code uses by itself."""


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of the function: `size` values of the type `kind` in one row.

    `name` is its name in C, `tensor` that of the signature. An input port may stand for several inputs of one column
    each: `tensors` are all of them, in order. `elements` names the values along the row (features, classes), if anybody
    did. `labels`: of an output of labels, the value that the model gives for 0, 1, …; empty where the number is the
    label. `codes`: place in the row → the categories that stand for the numbers 0, 1, … there.
    """

    name: str
    tensors: tuple[str, ...]
    size: int
    kind: Kind = "float"
    elements: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    codes: dict[int, tuple[str, ...]] = {}

    @property
    def tensor(self) -> str:
        """The tensor of the signature, where there is one."""
        return self.tensors[0]


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of flash (`text` and constants), of static RAM and of stack; operations of the longest way of a row."""

    flash: int
    ram: int
    stack: int
    operations: int


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """`source` and `header` are `NAME.c` and `NAME.h`. `estimate` is the generator's, for Thumb-2. `notes` are
    sentences for header and report: what happens with missing values, what was folded in."""

    name: str
    model: str
    source: str
    header: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    estimate: Sizes
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, str]:
        """What has to be compiled."""
        return {f"{self.name}.c": self.source, f"{self.name}.h": self.header}


def identifier(name: str, what: str = "--name") -> str:
    """The name, if it is one in C. Raises InvalidArgument."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name) or name in KEYWORDS:
        raise InvalidArgument(
            f"{what} '{name[:80]}' must be a name in C: a letter, then letters, digits and '_', at most 63"
        )
    return name


def as_identifier(text: str, default: str) -> str:
    """What a model or tensor is called in C; not as generated code calls things of its own."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:60].lower()
    if not re.match("[a-z]", plain) or plain in KEYWORDS:
        return default
    return f"{plain}_" if plain in OWN or re.match(r"net_|[ij][0-9]+$", plain) else plain


def prototype(name: str, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> str:
    """The declaration of the function, without its semicolon."""
    given = [f"const {port.kind} {port.name}[{port.size}]" for port in inputs]
    found = [f"{port.kind} {port.name}[{port.size}]" for port in outputs]
    return f"int {name}_predict({', '.join((*given, *found))})"


def rows(name: str, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> str:
    """The declaration of the function for many rows, without its semicolon."""
    given = [f"const {port.kind} *{port.name}" for port in inputs]
    found = [f"{port.kind} *{port.name}" for port in outputs]
    return f"int64_t {name}_predict_rows(int64_t rows, {', '.join((*given, *found))})"


def header(name: str, about: str, inputs: tuple[Port, ...], outputs: tuple[Port, ...], notes: tuple[str, ...]) -> str:
    """`NAME.h`: the signature, what each value is, and how the model takes what is missing."""
    lines = [f"{name}_predict: {about}", "", "Returns 0, or 1 for a row that the model does not answer.", ""]
    for port in (*inputs, *outputs):
        lines.append(f"{port.name}: {port.size} {port.kind} ({', '.join(port.tensors[:4])})")
        lines += [f"  [{place}] {each}" for place, each in enumerate(port.elements)]
        lines += [f"  {number} stands for {label!r}" for number, label in enumerate(port.labels)]
        for place, values in port.codes.items():
            lines += [f"  [{place}] takes {number} for {value!r}" for number, value in enumerate(values)]
    lines += ["", *notes] if notes else []
    comment = "\n".join(f" * {plain(line)}".rstrip() for line in lines)
    upper = name.upper()
    sizes = "".join(f"#define {upper}_{port.name.upper()} {port.size}\n" for port in (*inputs, *outputs))
    return (
        f"#ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n\n/*\n{comment}\n */\n\n{sizes}\n"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\n\n{prototype(name, inputs, outputs)};\n\n'
        "#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
    )


def plain(text: str) -> str:
    """Text that a comment can hold: names of columns and classes are the author's."""
    return text.encode("ascii", "backslashreplace").decode().replace("*/", "* /").replace("/*", "/ *")[:400]


def quoted(text: str) -> str:
    """A string of C, in pieces that every compiler takes."""
    data = [f"\\{byte:03o}" if byte < 32 or byte > 126 or byte in b'\\"?' else chr(byte) for byte in text.encode()]
    pieces = ["".join(data[at : at + 400]) for at in range(0, len(data), 400)]
    return "\n    ".join(f'"{piece}"' for piece in pieces or [""])


def pkg_config(name: str, model: str) -> bytes:
    """`NAME.pc` of a shared library."""
    return (
        f"prefix=${{pcfiledir}}/../..\n\nName: {name}\nDescription: {model}, as a library\n"
        f"Version: {model.rpartition(':')[2]}\n"
        f"Libs: -L${{prefix}}/lib -l{name}\nCflags: -I${{prefix}}/include\n"
    ).encode()


def array(kind: str, name: str, values: list[str], size: str = "") -> str:
    """A table of constants, some on a line."""
    rows = [", ".join(values[at : at + 16]) for at in range(0, len(values), 16)]
    return f"static const {kind} {name}[{size}] = {{\n  " + ",\n  ".join(rows) + "\n};\n"


def number(value: float, *, single: bool = True) -> str:
    """A float of C that is this number exactly; of float32, or of double. Infinities are spelled as products."""
    if value != value:
        return "(0.0f / 0.0f)"
    if value in (float("inf"), float("-inf")):
        return f"({'-' if value < 0 else ''}0x1p+127f * 2.0f)"
    return float(value).hex() + ("f" if single else "")


def resource(name: str) -> str:
    """A file of the folder `c`, beside this one."""
    return resources.files("argosy.embedded").joinpath("c").joinpath(name).read_text("utf-8")


def filled(text: str, words: dict[str, str]) -> str:
    """The text with each of these words replaced; what is put in is left as it is."""
    longest = sorted(words, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest)), lambda found: words[found[0]], text)
