"""Results, and the table of them."""

import msgspec

from argosy_conformance.check import GROUPS, Verdict

MARKS: dict[Verdict, str] = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}


class Result(msgspec.Struct, frozen=True):
    """One check's verdict. `note` says what was seen, why it was skipped, or which alternative was accepted."""

    id: str
    group: str
    title: str
    verdict: Verdict
    note: str = ""

    @property
    def grade(self) -> str:
        """`strict` or `accepted` where passed, else the verdict."""
        return self.verdict if self.verdict != "passed" else ("accepted" if self.note else "strict")


class Report(msgspec.Struct, frozen=True):
    """Every result of one run, in order; encodes to JSON with `msgspec.json.encode`."""

    url: str
    model: str | None
    results: tuple[Result, ...]
    contract: str = ""

    def of(self, verdict: Verdict) -> list[Result]:
        """The results with this verdict."""
        return [result for result in self.results if result.verdict == verdict]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.of("failed")

    def __getitem__(self, id: str) -> Result:
        return next(result for result in self.results if result.id == id)


def render(report: Report) -> str:
    """A plain text table: each check under its group, then one line of totals for each group."""
    what = f"Contract {report.contract}" if report.contract else "Open Inference Protocol"
    lines = [f"{what} conformance of {report.url} (model {report.model or '-'})"]
    for group in _groups(report):
        members = [result for result in report.results if result.group == group]
        if members:
            lines += ["", group, *map(_line, members)]
    return "\n".join([*lines, "", *_totals(report)]) + "\n"


def _groups(report: Report) -> tuple[str, ...]:
    return (*GROUPS, *([report.contract] if report.contract else []))


def _line(result: Result) -> str:
    note = " ".join(result.note.split())
    prefix = "accepted: " if result.grade == "accepted" else ""
    return f"  {MARKS[result.verdict]}  {result.id:<34} {result.title}" + (f"\n{'':8}{prefix}{note}" if note else "")


def _totals(report: Report) -> list[str]:
    lines = [f"{'group':<14}{'passed':>8}{'failed':>8}{'skipped':>9}"]
    for group in (*_groups(report), "total"):
        members = [result.verdict for result in report.results if group in (result.group, "total")]
        if members:
            counts = [members.count(verdict) for verdict in ("passed", "failed", "skipped")]
            lines.append(f"{group:<14}{counts[0]:>8}{counts[1]:>8}{counts[2]:>9}")
    return lines
