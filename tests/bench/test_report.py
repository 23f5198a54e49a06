import pytest

from bench import report
from bench.results import Results, Target

FASTER = Target("json", "req/s", ">=", 8, base="fastapi")
SMALL = Target("start", "memory", "<=", 150)


def measured(**rates: float) -> Results:
    results = Results()
    for subject, rate in rates.items():
        results.add("json", "req/s", "1/s", subject, rate)
    return results


@pytest.mark.parametrize(
    ("value", "text"),
    [(34210.4, "34 210"), (100, "100"), (61.23, "61.2"), (9.876, "9.88"), (0.1483, "0.148"), (0, "0")],
)
def test_numbers_keep_three_digits(value: float, text: str):
    assert report.number(value) == text


@pytest.mark.parametrize(("ours", "text"), [(8000, "pass (8 ×)"), (7990, "MISS (7.99 ×)"), (40000, "pass (40.0 ×)")])
def test_a_ratio_is_judged_against_its_base(ours: float, text: str):
    assert report.verdict(FASTER, measured(argosy=ours, fastapi=1000)) == text


@pytest.mark.parametrize(("value", "text"), [(150, "pass"), (150.1, "MISS")])
def test_a_bound_without_a_base_is_judged_as_it_is(value: float, text: str):
    results = Results()
    results.add("start", "memory", "MiB", "argosy", value)
    assert report.verdict(SMALL, results) == text


@pytest.mark.parametrize("rates", [{}, {"argosy": 9.0}, {"fastapi": 9.0}])
def test_what_was_not_measured_is_not_judged(rates: dict[str, float]):
    assert report.verdict(FASTER, measured(**rates)) == "n/a"


def test_the_table_has_a_row_for_every_measure_and_wish():
    rows = report.table(measured(fastapi=1000, argosy=9000, mlserver=500), [FASTER, SMALL]).splitlines()
    assert rows[0] == "| case | measure | unit | target | verdict | argosy | fastapi | mlserver |"
    assert rows[2] == "| json | req/s | 1/s | ≥ 8 × fastapi | pass (9 ×) | 9 000 (9 ×) | 1 000 | 500 (0.5 ×) |"
    assert rows[3] == "| start | memory |  | ≤ 150 | n/a | – | – | – |"


def test_measures_of_a_case_stay_together_whatever_was_measured_first():
    wish = Target("json", "p50", "<=", 0.6, base="fastapi")
    results = measured(fastapi=1)
    results.add("start", "memory", "MiB", "fastapi", 99)
    rows = report.table(results, [FASTER, wish, SMALL]).splitlines()[2:]
    assert [r.split(" | ")[0].strip("| ") for r in rows] == ["json", "json", "start"]


def test_a_metric_without_a_target_is_set_against_the_base_of_its_case():
    results = measured(fastapi=1000)
    for subject, value in (("fastapi", 100), ("mlserver", 250)):
        results.add("json", "p99", "µs", subject, value)
    assert "| 250 (2.5 ×) |" in report.table(results, [FASTER])


def test_the_spread_names_the_noisiest_figure():
    results = Results()
    for sample in (90, 100, 110):
        results.add("json", "req/s", "1/s", "fastapi", sample)
    for sample in (50, 100, 150):
        results.add("json", "req/s", "1/s", "argosy", sample)
    assert report.spread(results) == (
        "The rounds of a figure lie 100% apart at the median, 100% at worst (json, req/s, argosy)."
    )
    assert report.spread(measured(fastapi=1)) is None


def test_the_document_tells_facts_notes_and_failures():
    results = measured(fastapi=1)
    results.note("busy")
    results.note("busy")
    results.failures["json: argosy"] = "it ended\nwith exit code 1"
    text = report.document(results, [FASTER], {"machine": "two cores"})
    assert text.startswith("- machine: two cores\n")
    assert text.count("- busy") == 1
    assert text.endswith("- json: argosy: it ended with exit code 1")
