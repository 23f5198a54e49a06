import itertools

import msgspec

from argosy.cli import logs
from argosy.cli.logs import find, follow, names


def write(place, **logs):
    for name, text in logs.items():
        (place.logs / f"{name.replace('__', '.').replace('_', '-')}.log").write_text(text)


def test_find(place):
    write(place, a_0f0f0f_0="", a_0f0f0f_1="", a_b_0f0f0f_0="", gateway="", gateway__access="", gateway_0f0f0f_0="")
    assert [path.stem for path in find(place.logs, "a")] == ["a-0f0f0f-0", "a-0f0f0f-1"]
    assert [path.stem for path in find(place.logs, "a-b")] == ["a-b-0f0f0f-0"]
    assert [path.stem for path in find(place.logs, "a-0f0f0f-1")] == ["a-0f0f0f-1"]
    assert [path.stem for path in find(place.logs, "gateway")] == ["gateway", "gateway-0f0f0f-0", "gateway.access"]
    assert names(place.logs) == ["a", "a-b", "gateway"]


def test_prints_the_end_with_its_source(run, place):
    write(place, digits_0f0f0f_0="1\n2\n3\n", digits_0f0f0f_1="4\n")
    assert run("logs", "digits", "-n", 2).stdout.splitlines() == [
        "digits-0f0f0f-0  2",
        "digits-0f0f0f-0  3",
        "digits-0f0f0f-1  4",
    ]
    assert run("logs", "digits-0f0f0f-1").stdout == "4\n"
    lines = run("logs", "digits", "-n", 1, "--json").stdout.splitlines()
    assert msgspec.json.decode(lines[0]) == {"source": "digits-0f0f0f-0", "line": "3"}


def test_unknown(run, place):
    write(place, digits_0f0f0f_0="")
    result = run("logs", "digit")
    assert result.exit_code == 4
    assert "there are logs of digits" in result.stderr


def test_following_finds_new_files_and_whole_lines(tmp_path, monkeypatch):
    (tmp_path / "a.log").write_text("old\n")
    steps = iter([("a.log", "one\ntw"), ("b.log", "first\n"), ("a.log", "o\n")])

    def append(_):
        name, text = next(steps)
        with (tmp_path / name).open("a") as file:
            file.write(text)

    monkeypatch.setattr(logs.time, "sleep", append)
    found = follow(lambda: sorted(tmp_path.glob("*.log")), {tmp_path / "a.log": 4})
    assert list(itertools.islice(found, 3)) == [("a", b"one"), ("b", b"first"), ("a", b"two")]
    found.close()


class Elsewhere:
    """A platform whose replicas have no files here."""

    def replicas(self):
        return [{"id": f"web-{n}", "endpoint": "web"} for n in range(2)]

    def stream(self, path, **query):
        assert query == {"lines": 3, "follow": "false"}
        yield from (f"{path[-1]}: on", "e\ntwo\nrest")


def test_replicas_elsewhere_are_asked_for_theirs(run, place, monkeypatch):
    monkeypatch.setattr(logs, "control", Elsewhere)
    assert run("logs", "web-1", "-n", 3).stdout.splitlines() == ["1: one", "two", "rest"]
    lines = run("logs", "web", "-n", 3).stdout.splitlines()
    assert lines == [f"web-{n}  {text}" for n in range(2) for text in (f"{n}: one", "two", "rest")]
    assert run("logs", "other", "-n", 3).exit_code == 4
