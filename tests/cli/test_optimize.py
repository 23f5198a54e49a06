import msgspec
import pytest

from tests.packaging.optimize.networks import network, rows


@pytest.mark.slow
def test_the_table_the_status_and_what_show_says(run, tmp_path):
    assert run("push", network(tmp_path / "net.onnx"), "--name", "net").exit_code == 0
    place = rows(tmp_path / "x.npz")
    limits = ("--rows", place, "--min-agreement", "0.9", "--worst-class", "0")
    lost = run("optimize", "net:1", *limits, "--min-speedup", "1000000")
    assert lost.exit_code == 7
    assert "int8-clipped" in lost.stdout
    assert "no recipe passed, so nothing was registered" in lost.stdout
    won = run("optimize", "net:1", *limits, "--min-speedup", "0", "--json")
    told = msgspec.json.decode(won.stdout)
    assert told["ref"] == "net:2"
    shown = run("models", "show", "net:2").stdout
    assert f"optimized from net:1, {told['parent']}, by {told['recipe']}" in shown
    assert all(each["recipe"] in shown for each in told["tries"])
    assert "RECIPE" not in run("models", "show", "net:1").stdout
