"""C99 for an ensemble of trees: tables of bytes, and one function that walks them.

Inputs become ranks among the thresholds of the model, once, and are compared as such. Shares of forests are integers of
64 bits; other leaves are summed as the library does, in its order.
"""

import math
from fractions import Fraction

import numpy as np

from argosy.embedded.code import Code, Port, Sizes, array, header, number, prototype, resource
from argosy.embedded.tree_tables import SHARE, Tables, pack
from argosy.engines.trees.form import ZERO, Ensemble


def code(form: Ensemble, name: str, model: str, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Code:
    """The C of an ensemble. Raises Unsupported."""
    votes = is_vote(form)
    records = _records(form) if votes else []
    tables = pack(form, [len(each) for each in records])
    rank = "uint8_t" if max(np.diff(tables.starts, prepend=0).max(), _codes(form)) < 255 else "uint16_t"
    parts = [f'#include "{name}.h"\n', *(text for text, _ in _tables(form, tables))]
    parts += _votes(form, tables, records) if votes else _values(form, tables)
    parts += [_take(tables), _walk(form, tables, rank)]
    parts += [resource("powerf.c" if form.summed == "FP32" else "power.c")] if _exponential(form) else []
    parts.append(_predict(form, tables, rank, votes, prototype(name, inputs, outputs), outputs))
    source = "\n".join(parts)
    notes = _notes(form)
    about = f"{model}, {len(form.roots)} trees of {len(form.feature)} nodes"
    operations = int(form.depth().sum()) + len(tables.columns) * len(tables.thresholds).bit_length()
    return Code(
        name=name,
        model=model,
        source=source,
        header=header(name, about, inputs, outputs, notes),
        inputs=inputs,
        outputs=outputs,
        estimate=Sizes(
            flash=_bytes(form, tables, records) + _instructions(form, tables, votes),
            ram=0,
            stack=len(tables.columns) * (1 if rank == "uint8_t" else 2) + 8 * form.sums + 64,
            operations=operations + len(form.roots) * max(len(form.target) and 1, form.sums),
        ),
        notes=notes,
    )


def is_vote(form: Ensemble) -> bool:
    """Whether leaves hold shares of classes whose mean is the answer."""
    low, high = form.values.min(), form.values.max()
    plain = form.scoring.link == "none" and bool(form.scoring.labels) and not len(form.target) and not form.base.any()
    return plain and low >= 0 and high <= 1 and form.divisor == len(form.roots) and form.sums <= 127


def _shares(form: Ensemble) -> list[int]:
    """The distinct shares of a leaf in the sum, in 2^-62."""
    return [round(Fraction(float(each)) / len(form.roots) * 2**SHARE) for each in np.unique(form.values)]


def _records(form: Ensemble) -> list[list[int]]:
    """Of each leaf, its shares that are not 0: class, with 128 at the last one; number of the share, in 1 or 2
    bytes."""
    known = np.unique(form.values)
    places = np.searchsorted(known, form.values)
    found: list[list[int]] = []
    for row in places.tolist():
        classes = [at for at, share in enumerate(row) if known[share] != 0]
        record: list[int] = []
        for at in classes:
            record += [
                at | (128 if at == classes[-1] else 0),
                *row[at].to_bytes(1 if len(known) < 257 else 2, "little"),
            ]
        found.append(record)
    return found


def _votes(form: Ensemble, tables: Tables, records: list[list[int]]) -> list[str]:
    flat = [str(byte) for leaf in tables.order for byte in records[leaf]]
    shares = [f"0x{share:x}u" for share in _shares(form)]
    return [array("uint8_t", "leaves", flat), array("uint64_t", "shares", [f"{s}ll" for s in shares])]


def _values(form: Ensemble, tables: Tables) -> list[str]:
    single = form.summed == "FP32"
    values = form.values[tables.order].astype(np.float32 if single else np.float64)
    return [
        array("float" if single else "double", "leaves", [number(v, single=single) for v in values.ravel().tolist()])
    ]


def _codes(form: Ensemble) -> int:
    return max((int(each.max()) + 1 for each in (*form.sets.values(), *form.known.values()) if len(each)), default=0)


def _whole(name: str, values: list[int]) -> tuple[str, int]:
    size = next(size for size in (1, 2, 4) if max(values) < 256**size)
    return array(f"uint{8 * size}_t", name, [str(each) for each in values]), len(values) * size


def _tables(form: Ensemble, tables: Tables) -> list[tuple[str, int]]:
    """Tables in C with their bytes, but for leaves."""
    found = [_whole("nodes", [*tables.stream]), _whole("roots", tables.roots)]
    if tables.numeric:
        values = [number(float(each)) for each in tables.thresholds]
        found.append((array("float", "thresholds", values), 4 * len(values)))
    if tables.numeric and not tables.shared:
        found.append(_whole("starts", tables.starts))
    if tables.columns != list(range(len(tables.columns))):
        found.append(_whole("columns", tables.columns))
    if tables.sets:
        found.append(_whole("sets", [byte for row in tables.sets for byte in row]))
    if len(form.target) and form.sums > 1 and not _cyclic(form):
        found.append(_whole("targets", form.target.tolist()))
    if len({*form.gaps}) > 1:
        found.append(_whole("gaps", [_MODES.index(mode) for mode in form.gaps]))
    if form.limits and len({*form.limits}) > 1:
        limits = [number(float(np.float32(each))) for each in form.limits]
        found.append((array("float", "limits", limits), 4 * len(limits)))
    if _relabelled(form):
        found.append(_whole("labels", [int(label) for label in form.scoring.labels]))
    return found


_MODES = ("node", "zero", "zeros", "refused")


def _cyclic(form: Ensemble) -> bool:
    return form.target.tolist() == [tree % form.sums for tree in range(len(form.roots))]


def _relabelled(form: Ensemble) -> bool:
    """Whether labels are numbers, others than 0, 1, …"""
    labels = form.scoring.labels
    return bool(labels) and not isinstance(labels[0], str) and list(labels) != list(range(len(labels)))


def _take(tables: Tables) -> str:
    return f"""\
static uint32_t take(const uint8_t **at)
{{
  uint32_t found = *(*at)++;
  int more;
  if (found < {tables.small})
    return found;
  found -= {tables.small};
  for (more = 0; more < {tables.more}; more++)
    found = found << 8 | *(*at)++;
  return found + {tables.small};
}}
"""


def _walk(form: Ensemble, tables: Tables, rank: str) -> str:
    head = " | ".join(f"(uint32_t)at[{byte}] << {8 * byte}" if byte else "at[0]" for byte in range(tables.size))
    shift = 3 if tables.gaps else 2
    tests: list[str] = []
    if tables.gaps:
        tests.append(f"if (found == {_gone(rank)})\n      left = node >> 2 & 1;")
    if tables.sets:
        width = len(tables.sets[0])
        inside = f"found < {8 * width} && sets[limit * {width} + (found >> 3)] >> (found & 7) & 1"
        tests.append(f"if (place >= {tables.numeric})\n      left = {inside};")
    tests = ["\n    else ".join([*tests, "\n      left = found <= limit;" if tests else "left = found <= limit;"])]
    return f"""\
static uint32_t walk(const uint8_t *at, const {rank} *rank)
{{
  for (;;) {{
    uint32_t node = {head};
    uint32_t place = node >> {shift} & {2 ** tables.bits[0] - 1}, limit = node >> {shift + tables.bits[0]};
    uint32_t found = rank[place], right = 0;
    int left;
    at += {tables.size};
    if ((node & 3) != 1)
      right = take(&at);
    {tests[0]}
    if (left) {{
      if (node & 1)
        return take(&at);
    }} else if (node & 2)
      return right;
    else if (node & 1)
      take(&at);
    else
      at += right;
  }}
}}
"""


def _gone(rank: str) -> int:
    """The rank of what is missing."""
    return 255 if rank == "uint8_t" else 65535


def _refusals(form: Ensemble) -> list[str]:
    """The loop that refuses rows, if any are."""
    value = "x[i]"
    tests: list[str] = []
    if "refused" in form.gaps:
        tests.append(
            f"{value} != {value}" + (f" && gaps[i] == {_MODES.index('refused')}" if len({*form.gaps}) > 1 else "")
        )
    if form.limits and min(form.limits) != math.inf:
        limit = "limits[i]" if len({*form.limits}) > 1 else number(float(np.float32(form.limits[0])))
        tests.append(f"{value} > {limit} || {value} < -{limit}")
    if not tests:
        return []
    return [
        f"for (i = 0; i < {form.width}; i++)",
        f"  if ({' || '.join(f'({test})' for test in tests)})",
        "    return 1;",
    ]


def _ranks(form: Ensemble, tables: Tables, rank: str) -> list[str]:
    """The loop that ranks the values that are used."""
    column = "columns[i]" if tables.columns != list(range(len(tables.columns))) else "i"
    used = {form.gaps[column] for column in tables.columns}
    gone = "value != value"
    lines = [f"for (i = 0; i < {len(tables.columns)}; i++) {{", f"  float value = x[{column}];"]
    first, last = (
        ("0", str(len(tables.thresholds))) if tables.shared or not tables.numeric else ("starts[i]", "starts[i + 1]")
    )
    several = len({*form.gaps}) > 1
    if "zero" in used:
        lines.append(f"  if ({gone}{f' && gaps[{column}] == 1' if several else ''})\n      value = 0.0f;")
    tests: list[str] = [gone] if used & {"node", "zeros"} else []
    if "zeros" in used:
        near = number(ZERO)
        tests.append(f"({f'gaps[{column}] == 2 && ' if several else ''}value <= {near} && value >= -{near})")
    if tests:
        lines.append(f"  if ({' || '.join(tests)}) {{\n      rank[i] = {_gone(rank)};\n      continue;\n    }}")
    if tables.sets:
        low = "> -1.0f" if form.truncates else ">= 0.0f"
        other = _gone(rank) - 1
        code = f"value {low} && value < {other}.0f ? ({rank})(int32_t)value : {other}"
        lines += [f"  if (i >= {tables.numeric}) {{", f"    rank[i] = {code};"]
        if form.known:
            width, bit = len(tables.sets[0]), "rank[i] & 7"
            known = f"sets[(i - {tables.numeric}) * {width} + (rank[i] >> 3)] >> ({bit}) & 1"
            lines.append(f"    if (rank[i] >= {8 * width} || (float)rank[i] != value || !({known}))")
            lines.append(f"      rank[i] = {_gone(rank)};")
        lines += ["    continue;", "  }"]
    if tables.numeric:
        lines += [
            f"  low = {first}, high = {last};",
            "  while (low < high) {",
            "    uint32_t middle = (low + high) >> 1;",
            "    if (value <= thresholds[middle])",
            "      high = middle;",
            "    else",
            "      low = middle + 1;",
            "  }",
            f"  rank[i] = ({rank})(low{f' - {first}' if first != '0' else ''});",
        ]
    return [*lines, "}"]


def _add(form: Ensemble, votes: bool) -> list[str]:
    """The loop over trees."""
    loop, place = f"for (i = 0; i < {len(form.roots)}; i++)", "walk(nodes + roots[i], rank)"
    if votes:
        wide = len(np.unique(form.values)) > 256
        share = "leaf[1] | (uint32_t)leaf[2] << 8" if wide else "leaf[1]"
        return [
            f"{loop} {{", f"  const uint8_t *leaf = leaves + {place};", "  uint32_t class;", "  do {",
            "    class = leaf[0];", f"    sum[class & 127] += shares[{share}];", f"    leaf += {3 if wide else 2};",
            "  } while (class < 128);", "}",
        ]  # fmt: skip
    if len(form.target) or form.sums == 1:
        to = "0" if form.sums == 1 else f"i % {form.sums}" if _cyclic(form) else "targets[i]"
        return [loop, f"  sum[{to}] += leaves[{place}];"]
    kind = _kind(form)
    return [
        f"{loop} {{", f"  const {kind} *leaf = leaves + {form.sums} * {place};", "  uint32_t k;",
        f"  for (k = 0; k < {form.sums}; k++)", "    sum[k] += leaf[k];", "}",
    ]  # fmt: skip


def _exponential(form: Ensemble) -> bool:
    return form.scoring.link not in ("none", "square")


def _kind(form: Ensemble) -> str:
    return "float" if form.summed == "FP32" else "double"


def _label(form: Ensemble, port: Port, scores: str) -> list[str]:
    """The label: of the largest score, or sum where there are no scores."""
    lines = ["low = 0;", f"for (i = 1; i < {form.sums}; i++)", f"  if ({scores}[i] > {scores}[low])", "    low = i;"]
    if form.scoring.binary:
        lines = [f"low = {'p > 0.5' if form.scoring.second == 'half' else f'sum[0] {form.scoring.second} 0'};"]
    value = "labels[low]" if _relabelled(form) and not port.labels else "low"
    return [*lines, f"{port.name}[0] = (int32_t){value};"]


def _scores(form: Ensemble, votes: bool, port: Port) -> list[str]:
    """From sums to scores, in the steps of the library."""
    head, kind, name = form.scoring, _kind(form), port.name
    one = "1.0f" if kind == "float" else "1.0"
    steep = "" if head.steep == 1 else f"{number(head.steep, single=kind == 'float')} * "
    every = f"for (i = 0; i < {form.sums}; i++)"
    if head.binary:
        return [f"{name}[0] = (float)({one} - p);", f"{name}[1] = (float)p;"]
    if head.link == "softmax":
        return [
            "low = 0;", every, "  if (sum[i] > sum[low])", "    low = i;", "most = sum[low];", "total = 0;",
            f"{every} {{", f"  sum[i] = ({kind})power({steep}(sum[i] - most));", "  total += sum[i];", "}",
            every, f"  {name}[i] = (float)(sum[i] / ({kind})total);",
        ]  # fmt: skip
    if votes:
        return [every, f"  {name}[i] = (float)sum[i] * 0x1p-{SHARE}f;"]
    written = {
        "none": "sum[i]",
        "exp": f"power({steep}sum[i])",
        "sigmoid": f"({one} / ({one} + ({kind})power(-{steep}sum[i])))",
        "square": "(sum[i] < 0 ? -sum[i] * sum[i] : sum[i] * sum[i])",
    }[head.link]
    return [every, f"  {name}[i] = (float){written};"]


def _predict(form: Ensemble, tables: Tables, rank: str, votes: bool, declared: str, outputs: tuple[Port, ...]) -> str:
    kind = "uint64_t" if votes else _kind(form)
    lines = [f"{rank} rank[{len(tables.columns)}];", f"{kind} sum[{form.sums}];"]
    several = form.sums > 1 and (form.scoring.labels or form.scoring.link == "softmax")
    low = tables.numeric or several or form.scoring.binary
    lines.append(f"uint32_t i{', low' if low else ''}{', high' if tables.numeric else ''};")
    if form.scoring.link == "softmax":
        lines.append(f"{kind} most;\n  double total;")
    if form.scoring.binary:
        lines.append(f"{kind} p;")
    lines += _start(form, kind) + _refusals(form) + _ranks(form, tables, rank) + _add(form, votes)
    if form.divisor != 1 and not votes:
        lines += [f"for (i = 0; i < {form.sums}; i++)", f"  sum[i] /= {number(form.divisor, single=kind == 'float')};"]
    if form.scoring.binary:
        one, steep = ("1.0f" if kind == "float" else "1.0"), number(form.scoring.steep, single=kind == "float")
        lines.append(f"p = {one} / ({one} + ({kind})power(-{steep} * sum[0]));")
    scores = [line for port in outputs if port.kind == "float" for line in _scores(form, votes, port)]
    by = next((port.name for port in outputs if port.kind == "float" and form.summed == "FP32"), "sum")
    labels = [line for port in outputs if port.kind == "int32_t" for line in _label(form, port, by)]
    both = (*labels, *scores) if by == "sum" else (*scores, *labels)
    body = "\n".join(f"  {line}" for line in (*lines, *both, "return 0;"))
    return f"{declared}\n{{\n{body}\n}}\n"


def _start(form: Ensemble, kind: str) -> list[str]:
    """Set the sums to where they begin, in a way that no compiler makes a call of memset or memcpy of."""
    if form.base.any() or form.sums < 3:
        return [f"sum[{at}] = {number(float(v), single=kind == 'float')};" for at, v in enumerate(form.base.tolist())]
    clear = "volatile uint8_t zero = 0; /* else compilers call memset */"
    return [f"for (i = 0; i < {form.sums}; i++) {{", f"  {clear}", "  sum[i] = zero;", "}"]


def _notes(form: Ensemble) -> tuple[str, ...]:
    said = {
        "node": "A missing value is NaN, and goes where the model has learned.",
        "zero": "NaN counts as 0, as in the model.",
        "zeros": "NaN and 0 are missing values, and go where the model has learned.",
        "refused": "The model has no rule for missing values: a row with NaN is refused.",
    }
    if len({*form.gaps}) > 1:
        closed = [str(at) for at, mode in enumerate(form.gaps) if mode == "refused"]
        lines = [said["node"]] if {"node"} & {*form.gaps} else []
        lines += [f"NaN is refused at {', '.join(closed[:40])}."] if closed else []
    else:
        lines = [said[form.gaps[0]]]
    if form.limits and min(form.limits) != math.inf:
        lines.append("Numbers that the model refuses (infinities, or beyond its limits) are refused.")
    return tuple(lines)


def _bytes(form: Ensemble, tables: Tables, records: list[list[int]]) -> int:
    """Bytes of all tables."""
    leaves = sum(map(len, records)) + 8 * len(_shares(form)) if records else 0
    each = 4 if form.summed == "FP32" else 8
    return sum(size for _, size in _tables(form, tables)) + (leaves or each * form.values.size)


def _instructions(form: Ensemble, tables: Tables, votes: bool) -> int:
    """Bytes of Thumb-2 instructions, about: what gcc 12 makes of each part."""
    link, several = form.scoring.link, form.sums > 1
    power = 545 if form.summed == "FP32" else 335
    parts = [
        (284, True),
        (90, bool(tables.sets)),
        (85, bool(form.known)),
        (16, tables.gaps),
        (power, _exponential(form)),
        (80, link == "sigmoid"),
        (41, form.scoring.binary),
        (190, link == "softmax"),
        (30, link == "square"),
        (110, votes),
        (40, several and not votes),
        (39, several and not votes and bool(form.scoring.labels)),
        (10 * form.sums, several and bool(form.base.any())),
    ]
    return sum(size for size, there in parts if there)
