import click
import msgspec
import pytest

from argosy.cli import output, runtime
from argosy.console import words


def test_plain_table(capsys):
    output.table(("name", "n"), [("a", 1), ("long name", None)])
    assert capsys.readouterr().out == "NAME       N\na          1\nlong name\n"


def test_empty_table(capsys):
    output.table(("name",), [], "none yet")
    assert capsys.readouterr().out == "none yet\n"


def test_drawn_table(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    output.table(("name", "status"), [("[red]x[/red]", "ok")])
    assert "[red]x[/red]" in capsys.readouterr().out


def test_emit(capsys):
    output.emit({"a": [1]}, True, lambda: click.echo("no"))
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'
    output.emit({"a": [1]}, False, lambda: click.echo("yes"))
    assert capsys.readouterr().out == "yes\n"


def test_pairs(capsys):
    output.pairs([("a", 1), ("long", "x\ny"), ("empty", "")])
    assert capsys.readouterr().out == "a     1\nlong  x\n      y\n"


def test_progress_is_lines_without_a_terminal(capsys):
    with output.progress("working") as report:
        report("step one")
    assert capsys.readouterr() == ("", "step one\n")


def test_columns_of_structs_and_dicts(capsys):
    class Row(msgspec.Struct):
        name: str
        size: int
        tags: tuple[str, ...] = ()

    columns = {"name": "name", "twice": ("size", lambda size: 2 * size), "tags": "tags"}
    output.table(columns, [Row("a", 1, ("x", "y"))])
    assert capsys.readouterr().out == "NAME  TWICE  TAGS\na     2      x, y\n"
    output.table(columns | {"first": lambda row: row["tags"][0]}, [{"name": "b", "size": 2, "tags": ["z"]}])
    assert capsys.readouterr().out == "NAME  TWICE  TAGS  FIRST\nb     4      z     z\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**3, "5.0 GiB"), (2**60, "1048576 TiB")],
)
def test_size(count, text):
    assert words.size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (2e5, "2 d")])
def test_age(seconds, text):
    assert words.age(seconds) == text


def test_a_url_is_whole_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    url = "http://127.0.0.1:8080/v2/models/a-long-name-of-an-endpoint/infer"
    output.table(("name", "reason", "url"), [("digits", "a reason of many words " * 4, url), ("iris", "short", "")])
    drawn = capsys.readouterr().out
    assert url in drawn
    for word in ("name", "reason", "digits", "words", "iris", "short"):
        assert word in drawn


def test_a_column_beside_a_short_url_is_folded_and_not_cut(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    rows = [("python", "a long line of many words and a last one", "do this"), ("control", "http://127.0.0.1:7070", "")]
    output.table(("check", "found", "what to do"), rows)
    drawn = " ".join(capsys.readouterr().out.split())
    for word in ("last", "one", "python", "http://127.0.0.1:7070", "what to do"):
        assert word in drawn


@pytest.mark.parametrize(
    ("text", "count"),
    [("64MiB", 64 * 2**20), ("64 MiB", 64 * 2**20), ("1.5kB", 1500), ("2G", 2 * 10**9), ("1024", 1024)],
)
def test_sizes_are_read_as_they_are_shown(text, count):
    assert runtime.Bytes()(text) == count


@pytest.mark.parametrize("text", ["0", "MiB", "-1", "1 XiB", "1e3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(click.BadParameter, match="64MiB"):
        runtime.Bytes()(text)
