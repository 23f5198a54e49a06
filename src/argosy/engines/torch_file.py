"""What a torch.export program would run while it is loaded.

`torch.export.load` evaluates the expressions of shapes as Python, resolves operators by their dotted names, and falls
back to full unpickling: a .pt2 file is data only as long as all of these are of the kinds the exporter writes.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from argosy.engines.base import check_file, require, short
from argosy.spec.errors import BadPackage

MAX_JSON = 256 << 20

OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|prim|higher_order|quantized|quantized_decomposed|torchvision|_c10d_functional)"
    r"\.[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge"
    r"|and_|or_|xor|invert|not_)|math\.(ceil|floor|trunc|sqrt|pow)|torch\.sym_(sum|max|min|not|ite|int|float|sqrt)"
)
SYMBOL = re.compile(r"Symbol\('\w{1,40}'(, \w{1,40}=(True|False)){0,8}\)")
PLAIN = re.compile(r"[A-Za-z0-9_\s+\-*/(),.<>=!&|~]*")
WORDS = frozenset(
    re.findall(
        r"\w+",
        """Integer Float Max Min FloorDiv CeilDiv Mod PythonMod ModularIndexing CleanDiv IntTrueDiv FloatTrueDiv
        TruncToInt TruncToFloat ToFloat CeilToInt FloorToInt RoundToInt PowByNatural FloatPow Where Identity LShift
        RShift Add Mul Pow Abs Eq Ne Lt Le Gt Ge And Or Not True False oo int_oo int float max min and or not""",
    )
)
SYMBOL_NAME = re.compile(r"[suz]f?\d{1,9}")


def objections(path: Path) -> list[str]:
    """What in the file nobody vouches for, in words; empty for a program that is data only. Raises BadPackage unless it
    is a whole archive of a torch.export program."""
    check_file(path, "a torch.export program")
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(re.fullmatch(r"[^/]*/models/[^/]+\.json", name) for name in archive.namelist()):
                raise BadPackage(f"{path.name} is no torch.export program: it has no models/*.json")
            if broken := archive.testzip():
                raise BadPackage(f"{path.name} is damaged: the checksum of '{broken}' is wrong")
            return [said for entry in archive.infolist() for said in _of_entry(archive, entry)]
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError, RecursionError) as error:
        raise BadPackage(f"{path.name} is not a whole torch.export program: {short(error)}") from None


def _of_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[str]:
    place = entry.filename.partition("/")[2]
    if entry.filename.endswith(".json"):
        if entry.file_size > MAX_JSON:
            raise BadPackage(f"'{entry.filename}' is over {MAX_JSON} bytes")
        yield from _in_json(json.loads(archive.read(entry)))
    elif place.startswith("data/sample_inputs/"):
        torch: Any = require("torch", "torch", "a PyTorch program")
        try:
            torch.load(io.BytesIO(archive.read(entry)), weights_only=True)
        except Exception as error:
            yield f"the sample inputs are no plain tensors ({short(error, 100)})"
    elif place.startswith("data/constants/") and not re.fullmatch(r"tensor_\d+", entry.filename.rpartition("/")[2]):
        yield f"a constant that is no tensor: {place}"
    elif not place.startswith(("data/weights/", "archive_", ".data/", "byteorder", "data/constants/")):
        yield f"an unknown part: {place}"


def _in_json(value: Any) -> Iterator[str]:
    """Walk the document: operators, expressions, guards, pickled payloads."""
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(cast("list[Any]", item))
        elif isinstance(item, dict):
            table = cast("dict[str, Any]", item)
            pending.extend(table.values())
            yield from _in_table(table)


def _in_table(table: dict[str, Any]) -> Iterator[str]:
    target, expression = table.get("target"), table.get("expr_str")
    if isinstance(target, str) and "inputs" in table and not OPERATOR.fullmatch(target):
        yield f"the operator '{target[:100]}'"
    if isinstance(expression, str) and not plain(expression):
        yield f"the expression '{expression[:100]}'"
    if table.get("guards_code"):
        yield "guards in Python code"
    if table.get("use_pickle"):
        yield "pickled tensors"
    if table.get("treespec_namedtuple_fields"):
        yield "named tuples, whose classes are imported"
    if table.get("as_custom_obj") or table.get("custom_obj_values"):
        yield "script objects"


def plain(expression: str) -> bool:
    """Whether a shape expression is arithmetic over symbols and known functions, and nothing else."""
    rest = SYMBOL.sub(" ", expression)
    if "__" in rest or not PLAIN.fullmatch(rest):
        return False
    return all(word in WORDS or SYMBOL_NAME.fullmatch(word) for word in re.findall(r"[A-Za-z_]\w*", rest))
