"""What a proof or a benchmark writes into a document changes nothing else of it."""

from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import report
from prove.document import put


def test_only_what_is_between_the_markers_changes(tmp_path: Path):
    document = tmp_path / "d.md"
    document.write_text("# Title\n\n[\nold\n]\n\nthe end\n")
    for text in ("new", "newer"):
        put(document, "[", "]", text)
        assert document.read_text() == f"# Title\n\n[\n{text}\n]\n\nthe end\n"


def test_a_document_without_markers_stays_as_it_is(tmp_path: Path):
    document = tmp_path / "d.md"
    document.write_text("# Title\n")
    with pytest.raises(ValueError, match="unpack"):
        put(document, "[", "]", "new")
    assert document.read_text() == "# Title\n"


def test_the_benchmarks_have_a_place_in_their_document():
    text = bench.DOCUMENT.read_text()
    assert (text.count(report.BEGIN), text.count(report.END)) == (1, 1)
