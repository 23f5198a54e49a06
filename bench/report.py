"""Results to one Markdown table of figures and ratios. Pure: nothing here measures, reads or writes."""

from collections.abc import Iterable, Sequence

from bench.results import Figure, Results, Target

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
RELATION = {">=": "≥", "<=": "≤"}


def number(value: float) -> str:
    """Three significant digits and more: 34 210, 61.2, 0.148."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def target_text(target: Target) -> str:
    bound = f"{RELATION[target.relation]} {target.bound:g}"
    return f"{bound} × {target.base}" if target.base else bound


def verdict(target: Target, results: Results) -> str:
    """`pass`, `MISS`, or `n/a` when the subject or its base was not measured, with the deciding number."""
    figure = results.find(target.case, target.metric, target.subject)
    if figure is None:
        return "n/a"
    if target.base is None:
        return f"{'pass' if target.met(figure.value) else 'MISS'}"
    base = results.find(target.case, target.metric, target.base)
    if base is None:
        return "n/a"
    ratio = figure.value / base.value
    return f"{'pass' if target.met(ratio) else 'MISS'} ({number(ratio)} ×)"


def cell(figure: Figure | None, base: Figure | None) -> str:
    if figure is None:
        return "–"
    if base is None or base.subject == figure.subject:
        return number(figure.value)
    return f"{number(figure.value)} ({number(figure.value / base.value)} ×)"


def subjects(results: Results) -> list[str]:
    """Argosy first, then the others as they came."""
    return list(dict.fromkeys(["argosy", *(f.subject for f in results.figures)]))


def base_of(case: str, metric: str, targets: Iterable[Target], results: Results) -> str:
    """The base of the metric's own target, else that of another target of its case, else FastAPI where measured."""
    own = [t.base for t in targets if t.case == case and t.base]
    named = [t.base for t in targets if (t.case, t.metric) == (case, metric) and t.base]
    found = (named or own or ["fastapi"])[0]
    return found if results.find(case, metric, found) else "argosy"


def table(results: Results, targets: Sequence[Target]) -> str:
    """A row for each metric, measured or only wished for; ratios in brackets are to the row's base."""
    columns = subjects(results)
    rows = [["case", "measure", "unit", "target", "verdict", *columns]]
    rows.append(["---"] * 3 + ["---", "---"] + ["---:"] * len(columns))
    wished = [(t.case, t.metric) for t in targets]
    measured = [(f.case, f.metric) for f in results.figures]
    cases = list(dict.fromkeys([c for c, _ in [*measured, *wished]]))
    keys = dict.fromkeys(k for c in cases for k in [*measured, *wished] if k[0] == c)
    for case, metric in keys:
        target = next((t for t in targets if (t.case, t.metric) == (case, metric)), None)
        unit = next((f.unit for f in results.figures if (f.case, f.metric) == (case, metric)), "")
        base = results.find(case, metric, base_of(case, metric, targets, results))
        cells = [cell(results.find(case, metric, s), base) for s in columns]
        wish = [target_text(target), verdict(target, results)] if target else ["", ""]
        rows.append([case, metric, unit, *wish, *cells])
    return "\n".join(f"| {' | '.join(r)} |" for r in rows)


def spread(results: Results) -> str | None:
    """A sentence on how far the rounds of one figure lie apart, (max - min) / median: the noise to read ratios with."""
    several = [f for f in results.figures if len(f.samples) > 2 and f.value]
    if not several:
        return None
    apart = sorted([((max(f.samples) - min(f.samples)) / f.value, f) for f in several], key=lambda pair: pair[0])
    half, (most, f) = apart[len(apart) // 2][0], apart[-1]
    return (
        f"The rounds of a figure lie {half:.0%} apart at the median, "
        f"{most:.0%} at worst ({f.case}, {f.metric}, {f.subject})."
    )


def document(results: Results, targets: Sequence[Target], facts: dict[str, str]) -> str:
    """The whole report: facts of the run, the table, notes, and what could not be measured."""
    parts = ["\n".join(f"- {name}: {fact}" for name, fact in facts.items()), table(results, targets)]
    notes = [*results.notes, *filter(None, [spread(results)])]
    if notes:
        parts.append("Notes:\n\n" + "\n".join(f"- {n}" for n in notes))
    if results.failures:
        lines = [f"- {key}: {' '.join(why.split())[-300:]}" for key, why in results.failures.items()]
        parts.append("Not measured:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)
