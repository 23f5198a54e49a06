"""The proof of deferred work in idle slots, whole: it takes a few seconds."""

import pytest

from prove import idle

pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    not idle.TRACE.is_file(), reason=f"needs {idle.TRACE}, a public trace that is not in the repository"
)
def test_idle_slots_are_filled_and_requests_hardly_notice(capsys: pytest.CaptureFixture[str]):
    assert idle.main() == 0
    assert capsys.readouterr().out.count("ours fills") == 4
