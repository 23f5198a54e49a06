"""Charts: where things are drawn, and that what is put in stays text."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.console import chart, words
from tests.console.samples import HOSTILE

NUMBERS = st.one_of(st.none(), st.floats(0, 1e12), st.just(float("nan")), st.just(float("inf")))


def parsed(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)


@given(st.lists(NUMBERS, max_size=200))
def test_any_course_gives_a_drawing_within_its_frame(values: list[float | None]):
    times = [1e9 + 60.0 * at for at in range(len(values))]
    finite = [None if each is None or each in (float("inf"),) or each != each else each for each in values]
    for drawing in (
        chart.spark(finite, "x"),
        chart.lines(times, [chart.ChartLine("main", "x", finite)], "x", words.number),
    ):
        root = parsed(drawing)
        width, height = (float(each) for each in root.attrib["viewBox"].split()[2:])
        for shape in root.iter():
            for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", shape.attrib.get("points", "")):
                assert -1 <= float(x) <= width + 1
                assert -1 <= float(y) <= height + 1


def test_names_and_labels_stay_text():
    drawings = (
        chart.spark([1.0, 2.0], HOSTILE),
        chart.lines([0.0, 60.0], [chart.ChartLine("main", HOSTILE, [1.0, 2.0])], HOSTILE, words.number),
        chart.overlay([0.5, 0.5], [0.1, 0.9], [HOSTILE, HOSTILE], HOSTILE),
        chart.gauge(0.5, HOSTILE),
        chart.interval(1.0, 0.5, 1.5, 0.9, HOSTILE),
    )
    for drawing in drawings:
        assert "<script" not in drawing
        assert "<img" not in drawing
        assert parsed(drawing).attrib["aria-label"] == HOSTILE


def test_a_gap_in_the_values_is_a_gap_in_the_line():
    drawing = chart.lines([0, 60, 120, 180, 240], [chart.ChartLine("main", "x", [1, 2, None, 3, 4])], "x", words.number)
    assert drawing.count("<polyline") == 2
    lonely = chart.lines([0, 60, 120], [chart.ChartLine("main", "x", [1, None, None])], "x", words.number)
    assert lonely.count("<circle") == 1


def test_a_band_lies_between_low_and_high_and_breaks_where_either_is_missing():
    band = chart.Band("main", [1, 1, None, 1], [2, 2, 2, 2])
    drawing = chart.lines([0, 60, 120, 180], [chart.ChartLine("main", "x", [1.5] * 4)], "x", words.number, bands=[band])
    assert drawing.count('<polygon class="band main"') == 2


def test_the_interval_is_in_order():
    root = parsed(chart.interval(0.2, 0.1, 0.4, 0.15, "x"))
    stable, whisker, dot = list(root)
    assert (
        float(whisker.attrib["x1"]) < float(stable.attrib["x1"]) < float(dot.attrib["cx"]) < float(whisker.attrib["x2"])
    )


@pytest.mark.parametrize(("share", "width"), [(-1, 0), (0.5, 50), (9, 100)])
def test_a_gauge_is_full_at_one(share: float, width: float):
    assert float(list(parsed(chart.gauge(share, "x")))[1].attrib["width"]) == width


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_enclose(low: float, span: float):
    found = chart.ticks(low, low + span)
    assert 2 <= len(found) <= 7
    slack = 1e-6 * max(abs(low), span)
    assert found[0] <= low + slack
    assert found[-1] >= low + span - slack


@given(st.floats(1, 4e9), st.floats(60, 40 * 86400))
def test_moments_are_few_and_lie_within(start: float, span: float):
    found = chart.moments(start, start + span)
    assert len(found) <= 7
    assert all(start <= at <= start + span for at, _ in found)


def test_midnight_is_named_by_its_day():
    assert chart.moments(86400.0 * 100 - 7200, 86400.0 * 100 + 7200)[2] == (8640000, "11 Apr")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0"),
        (0.0123, "0.0123"),
        (1234.5, "1,234"),
        (2.5e6, "2.5 M"),
        (3e-9, "3.0e-09"),
    ],
)
def test_numbers_have_three_telling_digits(value: float | None, text: str):
    assert words.number(value) == text


def test_other_words():
    assert [words.milliseconds(each) for each in (None, 0, 0.4, 3.21, 45.6, 2500)] == [
        "–",
        "< 1 ms",
        "< 1 ms",
        "3.2 ms",
        "46 ms",
        "2.50 s",
    ]
    assert [words.figure(each) for each in (None, 0.83, 1234.0, 12.3456)] == ["–", "0.8300", "1234", "12.35"]
    assert [words.percent(each) for each in (None, 0, 0.00123, 0.5, 1)] == ["–", "0 %", "0.12 %", "50.0 %", "100 %"]
    assert [words.size(each) for each in (0, 1536, 500 << 20)] == ["0 B", "1.5 KiB", "500 MiB"]
    assert [words.age(each) for each in (5, 150, 7300, 9e5)] == ["5 s", "2 min", "2 h", "10 d"]
    assert words.since("2026-01-01T00:00:00Z", 1767225600 + 120) == "2 min"
    assert (words.since("nonsense", 0), words.clock("nonsense"), words.clock(0.0)) == ("", "", "")
    assert words.clock(1767225600) == "2026-01-01 00:00:00"
    assert [words.plain(each) for each in (None, "x", [1], {"a": None}, True)] == [
        "∅",
        "x",
        "[1]",
        '{"a":null}',
        "true",
    ]
