"""The header of a GGUF file, read within bounds: its keys, and where its tensors lie.

Source: the GGUF specification (ggml, docs/gguf.md), versions 2 and 3, which llama.cpp reads. Nothing of the file is
trusted: each count is compared with the bytes that are left before anything is made of it.
"""

import math
import re
import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

from argosy.spec.errors import BadPackage, Unsupported
from argosy.spec.language import Kind, LanguageModel

MAGIC = b"GGUF"
SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")
MAX_KEYS = 65_536
MAX_TENSORS = 1_000_000
MAX_SPLITS = 1024
MAX_TEXT = 1024 * 1024
"""Bytes of one string that is kept; longer ones, and strings in arrays, are passed over."""
CUT = "cut off: it ends within "
_MAX_NAME = 65_535
_MAX_KEPT = 4096
_LONGEST_ALIGNMENT = 1 << 20

_SCALARS = "BbHhIif?__QqdX"
"""By type: how `struct` names it. 8 is a string, 9 an array."""
_STRING, _ARRAY = 8, 9

_TYPES = (
    "0:F32:1:4 1:F16:1:2 2:Q4_0:32:18 3:Q4_1:32:20 6:Q5_0:32:22 7:Q5_1:32:24 8:Q8_0:32:34 10:Q2_K:256:84 "
    "11:Q3_K:256:110 12:Q4_K:256:144 13:Q5_K:256:176 14:Q6_K:256:210 15:Q8_K:256:292 16:IQ2_XXS:256:66 "
    "17:IQ2_XS:256:74 18:IQ3_XXS:256:98 19:IQ1_S:256:50 20:IQ4_NL:32:18 21:IQ3_S:256:110 22:IQ2_S:256:82 "
    "23:IQ4_XS:256:136 24:I8:1:1 25:I16:1:2 26:I32:1:4 27:I64:1:8 28:F64:1:8 29:IQ1_M:256:56 30:BF16:1:2 "
    "34:TQ1_0:256:54 35:TQ2_0:256:66 39:MXFP4:32:17"
)
_BLOCKS = {int(one[0]): (one[1], int(one[2]), int(one[3])) for one in (each.split(":") for each in _TYPES.split())}
"""Type of a tensor → its name, elements and bytes of a block. Of types that came later the size is not checked."""

_QUANTIZATIONS = (
    "F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS "
    "IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 - - - TQ1_0 TQ2_0 MXFP4"
)
"""Names of `general.file_type` 0, 1, …"""
_NO_GENERATORS = ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert", "t5encoder")

Value = str | int | float | bool | list[int]


class Header(msgspec.Struct, frozen=True):
    """What a GGUF file says before its data. `keys` has scalars, strings and short arrays of integers, and nothing of
    others. `tensors` has name → dimensions; `kinds` counts elements by tensor type."""

    keys: dict[str, Value]
    tensors: dict[str, tuple[int, ...]]
    kinds: dict[str, int]
    size: int

    def text(self, key: str) -> str:
        """A string; empty where there is none."""
        found = self.keys.get(key)
        return found if isinstance(found, str) else ""

    def number(self, key: str, default: int = 0) -> int:
        """An integer that is not negative, the largest of several; `default` where there is none."""
        found = self.keys.get(key)
        found = max(found, default=-1) if isinstance(found, list) else found
        return found if isinstance(found, int) and found >= 0 else default


class _Reader:
    """A file, and how many of its bytes are left. What passes the end is a file that is cut off."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.file, self.size, self.name, self.at = file, size, name, 0

    def bad(self, what: str, how: str = "damaged: ") -> BadPackage:
        return BadPackage(f"{self.name} looks like a GGUF file that is {how}{what}")

    def room(self, count: int, what: str) -> None:
        if count > self.size - self.at:
            raise self.bad(what, CUT)

    def take(self, count: int, what: str) -> bytes:
        self.room(count, what)
        data = self.file.read(count)
        self.at += count
        if len(data) != count:
            raise self.bad(what, CUT)
        return data

    def skip(self, count: int, what: str) -> None:
        self.room(count, what)
        self.file.seek(count, 1)
        self.at += count

    def number(self, form: str, what: str) -> int:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form), what))[0]

    def name_of(self, what: str) -> str:
        count = self.number("Q", what)
        if not 0 < count <= _MAX_NAME:
            raise self.bad(f"{what} is {count} bytes long")
        try:
            return self.take(count, what).decode()
        except UnicodeDecodeError:
            raise self.bad(f"{what} is no UTF-8") from None

    def string(self, what: str) -> str:
        count = self.number("Q", what)
        if count > MAX_TEXT:
            self.skip(count, what)
            return ""
        return self.take(count, what).decode(errors="replace")


def read(path: Path) -> Header:
    """The header of a file, checked against the size of the file. Raises BadPackage saying what is wrong, Unsupported
    for versions that no engine reads."""
    size = path.stat().st_size
    with path.open("rb") as file:
        reader = _Reader(file, size, path.name)
        if reader.take(4, "its first four bytes") != MAGIC:
            raise BadPackage(f"{path.name} is no GGUF file: it does not begin with GGUF")
        version = reader.number("I", "its version")
        if version not in (2, 3):
            big = " (its bytes are in big-endian order)" if version in (2 << 24, 3 << 24) else ""
            raise Unsupported(f"{path.name} is of version {version} of GGUF{big}; llama.cpp reads 2 and 3")
        tensors, keys = reader.number("Q", "its counts"), reader.number("Q", "its counts")
        if keys > MAX_KEYS or tensors > MAX_TENSORS:
            raise reader.bad(f"it says that it has {keys} keys and {tensors} tensors")
        reader.room(keys * 13 + tensors * 25, "its keys and tensors")
        return _tensors(reader, tensors, _keys(reader, keys))


def _keys(reader: _Reader, count: int) -> dict[str, Value]:
    found = dict[str, Value]()
    for _ in range(count):
        key = reader.name_of("the name of a key")
        if key in found:
            raise reader.bad(f"it has the key '{key[:80]}' twice")
        what = f"the key '{key[:80]}'"
        kind = reader.number("I", what)
        if kind == _STRING:
            found[key] = reader.string(what)
        elif kind == _ARRAY:
            inner, length = reader.number("I", what), reader.number("Q", what)
            found[key] = _array(reader, inner, length, what)
        else:
            found[key] = reader.number(_form(reader, kind, what), what)
    return found


def _form(reader: _Reader, kind: int, what: str) -> str:
    if kind >= len(_SCALARS) or _SCALARS[kind] in "_X":
        raise reader.bad(f"{what} has a type that is not known: {kind}")
    return _SCALARS[kind]


def _array(reader: _Reader, kind: int, length: int, what: str) -> list[int]:
    """Go past an array. A short one of integers is kept."""
    if kind == _STRING:
        if length > (reader.size - reader.at) // 8:
            raise reader.bad(what, CUT)
        for _ in range(length):
            reader.skip(reader.number("Q", what), what)
        return []
    form = _form(reader, kind, what)
    width = struct.calcsize("<" + form)
    if length > (reader.size - reader.at) // width:
        raise reader.bad(what, CUT)
    if length > _MAX_KEPT or form in "fd":
        reader.skip(length * width, what)
        return []
    return [int(each) for each in struct.unpack(f"<{length}{form}", reader.take(length * width, what))]


def _tensors(reader: _Reader, count: int, keys: dict[str, Value]) -> Header:
    align = keys.get("general.alignment", 32)
    if not isinstance(align, int) or align < 1 or align & (align - 1) or align > _LONGEST_ALIGNMENT:
        raise reader.bad(f"its alignment is {align}, which is no power of two up to {_LONGEST_ALIGNMENT}")
    found, kinds, places = dict[str, tuple[int, ...]](), dict[str, int](), list[tuple[str, int, int | None]]()
    for _ in range(count):
        name = reader.name_of("the name of a tensor")
        what = f"the tensor '{name[:80]}'"
        axes = reader.number("I", what)
        if name in found or axes > 4:
            raise reader.bad(f"{what} is there twice" if name in found else f"{what} has {axes} axes")
        dims = struct.unpack(f"<{axes}Q", reader.take(8 * axes, what))
        kind, offset = reader.number("I", what), reader.number("Q", what)
        elements = math.prod(dims)
        if not 0 < elements < 1 << 56:
            raise reader.bad(f"{what} has the shape {list(dims)}")
        label, block, width = _BLOCKS.get(kind, (f"type {kind}", 1, 0))
        if dims and dims[0] % block:
            raise reader.bad(f"{what} has rows of {dims[0]} elements, which {label} cannot hold")
        found[name] = dims
        kinds[label] = kinds.get(label, 0) + elements
        places.append((what, offset, elements // block * width if width else None))
    _check_places(reader, places, reader.at + -reader.at % align, align)
    return Header(keys, found, kinds, reader.size)


def _check_places(reader: _Reader, places: list[tuple[str, int, int | None]], start: int, align: int) -> None:
    """Tensors lie one after the other, aligned, within the file."""
    after: int | None = 0
    for what, offset, size in places:
        if offset % align or (after is not None and offset != after):
            raise reader.bad(f"{what} is said to lie at {offset} of the data, where it cannot lie")
        if start + offset + (size or 0) > reader.size:
            missing = start + offset + (size or 0) - reader.size
            raise reader.bad(f"{what} needs {missing} bytes more than there are; download it again", "cut off: ")
        after = None if size is None else offset + size + -size % align


def shards(path: Path) -> list[Path]:
    """Every file of the model that this one is part of, in order. Raises BadPackage naming those that are missing."""
    match = SPLIT.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    if not 0 < count <= MAX_SPLITS or not 0 < int(match["number"]) <= count:
        raise BadPackage(f"{path.name} is named as a part of {count} files, of which there are 1 to {MAX_SPLITS}")
    found = [path.with_name(f"{match['stem']}-{each:05}-of-{count:05}.gguf") for each in range(1, count + 1)]
    if missing := [each.name for each in found if not each.is_file()]:
        raise BadPackage(f"{path.name} is one of {count} files, and of these {', '.join(missing[:5])} is missing")
    return found


def read_all(paths: list[Path]) -> Header:
    """The header of a model in one file or several. Raises BadPackage where they do not belong together."""
    headers = [read(path) for path in paths]
    for number, (path, each) in enumerate(zip(paths, headers, strict=True)):
        count = each.number("split.count", 1)
        if (count, each.number("split.no")) != (len(paths), number) and max(count, len(paths)) > 1:
            raise BadPackage(
                f"{path.name} says that it is file {each.number('split.no') + 1} of {count}, and not "
                f"{number + 1} of {len(paths)}: keep the names that the parts were made with"
            )
    first = headers[0]
    tensors, kinds = dict[str, tuple[int, ...]](), dict[str, int]()
    for each in headers:
        tensors |= each.tensors
        for kind, elements in each.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + elements
    if len(tensors) != first.number("split.tensors.count", len(tensors)) or not tensors:
        raise BadPackage(f"{paths[0].name} has {len(tensors)} tensors, not as many as it says")
    return msgspec.structs.replace(first, tensors=tensors, kinds=kinds, size=sum(each.size for each in headers))


def templates(header: Header) -> tuple[str, ...]:
    """The chat templates, the default one first."""
    named = sorted(key for key in header.keys if key.startswith("tokenizer.chat_template"))
    return tuple(filter(None, map(header.text, named)))


def facts(header: Header, name: str) -> LanguageModel:
    """What the header says of the model. Raises Unsupported for what is none that generates text, BadPackage where
    it does not say what it is."""
    arch, type_ = header.text("general.architecture"), header.text("general.type") or "model"
    if type_ not in ("model", "adapter") or arch == "clip":
        raise Unsupported(f"{name} is a GGUF file of type '{type_ if arch != 'clip' else 'mmproj'}', not a model")
    if arch in _NO_GENERATORS:
        raise Unsupported(f"{name} is an encoder ({arch}) as GGUF: push its folder with safetensors instead")
    if not arch or (type_ == "model" and not header.number(f"{arch}.block_count")):
        raise BadPackage(f"{name} does not say its architecture and number of layers, so no engine can load it")
    kind: Kind = "adapter" if type_ == "adapter" else "generator"
    common = dict(enumerate(_QUANTIZATIONS.split())).get(header.number("general.file_type", -1), "-")
    return LanguageModel(
        kind=kind,
        architecture=arch,
        parameters=sum(header.kinds.values()),
        weights=header.size,
        quantization=common if common != "-" else max(header.kinds, key=header.kinds.__getitem__),
        context=header.number(f"{arch}.context_length"),
        kv_bytes=0 if kind == "adapter" else _kv_bytes(header, arch),
        chat=bool(templates(header)),
        tokenizer=header.text("tokenizer.ggml.model")[:80],
    )


def _kv_bytes(header: Header, arch: str) -> int:
    """Bytes of one token in a KV cache of 16 bits. Layers with a window, which keep less, are counted as all others."""
    layers, heads = header.number(f"{arch}.block_count"), header.number(f"{arch}.attention.head_count", 1)
    if rank := header.number(f"{arch}.attention.kv_lora_rank"):
        return 2 * layers * (rank + header.number(f"{arch}.rope.dimension_count"))
    per_head = header.number(f"{arch}.embedding_length") // max(heads, 1)
    width = sum(header.number(f"{arch}.attention.{one}_length", per_head) for one in ("key", "value"))
    listed = header.keys.get(f"{arch}.attention.head_count_kv")
    every = (
        sum(listed) if isinstance(listed, list) else layers * header.number(f"{arch}.attention.head_count_kv", heads)
    )
    return 2 * width * every
