"""`argosy fleet deploy`: what is declared by a file and by options."""

from pathlib import Path
from typing import Any

import pytest

from argosy.cli.deployments import _only, _print, declared
from argosy.spec.errors import InvalidArgument
from argosy.spec.fleet import Wave

NONE: dict[str, Any] = dict.fromkeys(
    ("waves", "minimum", "reports", "failures", "silence", "shadow", "rows", "agreement", "payloads")
) | {"match": ()}


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "update.yaml"
    file.write_text("model: m:1\nmatch: {site: a}\nseconds: 5\ntrial: {rows: 7, errors: 0.02}\nstop: {alpha: 0.05}\n")
    given = NONE | {"waves": "3,50%,100%", "minimum": "2m", "failures": "2%", "shadow": False, "match": ("site=b",)}
    found = declared("cars", "m:2", file, given)
    assert (found.model, found.match, found.seconds) == ("m:2", {"site": "b"}, 120.0)
    assert found.waves == (Wave(devices=3), Wave(share=0.5), Wave(share=1.0))
    assert (found.trial.rows, found.trial.errors, found.trial.mode) == (7, 0.02, "live")
    assert (found.stop.alpha, found.stop.failures) == (0.05, 0.02)


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("fleet: boats\nmodel: m", {}, "it is for fleet 'boats', not for 'cars'"),
        ("model: m\nwaev: []", {}, "unknown key 'waev'.*did you mean 'waves'"),
        ("match: {}", {}, "name the model to deploy"),
        ("model: m", {"failures": "many"}, "--failures is a share, as 5% or 0.05, not 'many'"),
        ("model: m", {"failures": "100%"}, "failures must be below 1"),
        ("model: m", {"minimum": "soon"}, "--minimum is 30m, 4h"),
        ("model: m", {"match": ("site",)}, "--match: write KEY=VALUE"),
        ("model: m", {"waves": "10%"}, "the last wave has to take in every device"),
        ("trial: 3\nmodel: m", {"rows": 4}, "trial"),
        ("[1, 2]", {}, "update.yaml"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, given: dict[str, Any], message: str) -> None:
    file = tmp_path / "update.yaml"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=message):
        declared("cars", None, file, NONE | given)


def test_an_order_without_a_number_is_for_the_one_that_is_under_way() -> None:
    one, two, old = ({"number": n, "state": s} for n, s in ((1, "running"), (2, "paused"), (3, "done")))
    assert _only("cars", [one, old]) == 1
    with pytest.raises(InvalidArgument, match="2 deployments are under way: 1, 2"):
        _only("cars", [one, two, old])
    with pytest.raises(InvalidArgument, match="fleet 'cars': none is"):
        _only("cars", [old])


def test_a_deployment_is_shown_with_its_waves(capsys: pytest.CaptureFixture[str]) -> None:
    devices = {"matching": 300, "assigned": 3, "offline": 1, "begun": 3, "committed": 2, "failed": 1, "silent": 0}
    one = {"ref": "m:1", "package": "sha256:0", "state": "running", "reason": "it waits", "match": {"site": "a"}}
    one |= {
        "wave": 1,
        "waves": [{"share": 0.01, "devices": None, "match": {}}, {"share": None, "devices": 9, "match": {}}],
    }
    one |= {"states": [{"committed": 2, "rolled_back": 1}, {}], "devices": devices, "failures": [0.01, 0.7]}
    _print(one | {"compared": 9, "agreed": 8, "sent": 5, "again": 0, "left_out": {"has no disk": 2}})
    shown = capsys.readouterr().out
    for text in (
        "site=a",
        "2 of 300 have it",
        "2 committed, 1 rolled_back",
        "8 of 9 answers",
        "2 devices: has no disk",
    ):
        assert text in shown
