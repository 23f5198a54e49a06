"""What was measured and what was wished for: plain data between the cases and the report."""

from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One measure of one subject: a sample a round, of which the median counts."""

    case: str
    metric: str
    unit: str
    subject: str
    samples: tuple[float, ...]

    @property
    def value(self) -> float:
        return median(self.samples)


@dataclass(frozen=True)
class Target:
    """`subject` on a metric, as it is (no base) or as a ratio to `base`, must be `>=` or `<=` the bound."""

    case: str
    metric: str
    relation: str
    bound: float
    base: str | None = None
    subject: str = "argosy"

    def met(self, value: float) -> bool:
        return value >= self.bound if self.relation == ">=" else value <= self.bound


@dataclass
class Results:
    """Figures in the order they were measured, with what could not be measured and remarks on how."""

    figures: list[Figure] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, case: str, metric: str, unit: str, subject: str, sample: float) -> None:
        """One more sample of a figure."""
        for i, f in enumerate(self.figures):
            if (f.case, f.metric, f.subject) == (case, metric, subject):
                self.figures[i] = Figure(case, metric, unit, subject, (*f.samples, sample))
                return
        self.figures.append(Figure(case, metric, unit, subject, (sample,)))

    def find(self, case: str, metric: str, subject: str) -> Figure | None:
        wanted = (case, metric, subject)
        return next((f for f in self.figures if (f.case, f.metric, f.subject) == wanted), None)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
