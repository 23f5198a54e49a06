from pathlib import Path

import pytest

from argosy.spec.errors import InvalidArgument, NotFound
from argosy_simulators.trace import TokenTimes, read

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


def test_azure_tokens_become_seconds_of_a_slot(tmp_path: Path) -> None:
    text = AZURE + "2023-11-16 18:15:50.9951690,1000,100\n2023-11-16 18:15:46.6805900,0,0"
    trace = read(written(tmp_path, text))
    assert trace.arrivals.tolist() == pytest.approx([0.0, 4.314579])
    assert trace.services.tolist() == pytest.approx([0.1, 0.1 + 0.3 + 3.0])
    assert read(tmp_path / "trace.csv", TokenTimes(fixed=1, per_input=0, per_output=0)).services.tolist() == [1, 1]


def test_the_trace_of_2024_has_a_zone(tmp_path: Path) -> None:
    text = AZURE + "2024-05-10 00:00:00.009930+00:00,1,1\n2024-05-10 00:00:01+00:00,1,1\n"
    assert read(written(tmp_path, text)).arrivals.tolist() == pytest.approx([0, 0.99007])


def test_functions_arrive_when_they_began(tmp_path: Path) -> None:
    trace = read(written(tmp_path, "app,func,end_timestamp,duration\na,f,10.0,4.0\na,f,11.0,1.0\n"))
    assert (trace.arrivals.tolist(), trace.services.tolist()) == ([0.0, 4.0], [4.0, 1.0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no trace of requests"),
        ("src,dst,avg_rtt_ms\na,b,3\n", "known are timestamp,contexttokens"),
        (AZURE, "holds no requests"),
        (AZURE + "2023-11-16 18:15:46,1\n", "line 2"),
        (AZURE + "yesterday,1,1\n", "line 2"),
        (AZURE + "2023-11-16 18:15:46,-1,1\n", "negative"),
        ("arrival,service\n0,1\n1,nan\n", "line 3"),
        ("arrival,service\n0,-1\n", "not negative"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        read(written(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no trace file"):
        read(tmp_path / "none.csv")
