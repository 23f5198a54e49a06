import click
import pytest

from argosy.cli import output


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


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**3, "5.0 GiB"), (2**50, "1048576.0 GiB")],
)
def test_size(count, text):
    assert output.size(count) == text
