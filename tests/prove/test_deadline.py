import pytest

from prove import deadline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not deadline.DATA.is_dir(), reason=f"the spot traces are not at {deadline.DATA}"),
]


def test_work_with_a_deadline_costs_less_than_under_uniform_progress(monkeypatch, capsys):
    monkeypatch.setattr(deadline, "SETTINGS", [(70, 0.2)])
    assert deadline.main(["--windows", "2"]) == 0
    assert "; 0 deadlines missed" in capsys.readouterr().out
