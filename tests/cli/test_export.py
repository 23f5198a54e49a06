"""`argosy export grafana` without a platform: by the settings, or not at all."""

import json

import pytest
import yaml
from click.testing import CliRunner

from argosy.cli.main import argosy


@pytest.fixture
def export(tmp_path, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "home"))

    def run(*more, output="out"):
        return CliRunner().invoke(argosy, ["export", "grafana", "--output", str(tmp_path / output), *more])

    return run


def scraped(tmp_path):
    (job,) = yaml.safe_load((tmp_path / "out/prometheus/prometheus.yml").read_text())["scrape_configs"]
    return job


def test_where_nothing_runs_the_settings_say_where_it_will(export, tmp_path):
    result = export("--json")
    assert result.exit_code == 0, result.output
    job = scraped(tmp_path)
    assert job["static_configs"] == [{"targets": ["127.0.0.1:7070"]}]
    assert job["authorization"]["credentials_file"] == str(tmp_path / "home/metrics.token")
    token = (tmp_path / "home/metrics.token").read_text()
    assert token
    assert not any(token in (tmp_path / path).read_text() for path in json.loads(result.stdout))


def test_a_second_export_replaces_the_first(export, tmp_path):
    export()
    before = (tmp_path / "home/metrics.token").read_text()
    assert export("--job", "west", "--target", "[::1]:9").exit_code == 0
    assert (scraped(tmp_path)["job_name"], scraped(tmp_path)["static_configs"][0]["targets"]) == ("west", ["[::1]:9"])
    assert 'up{job="west"}' in (tmp_path / "out/prometheus/rules/argosy.yml").read_text()
    assert (tmp_path / "home/metrics.token").read_text() == before
    assert not [path for path in (tmp_path / "out").rglob("*") if len(path.name) == 32]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--target", "http://x:1"), "must be HOST:PORT"),
        (("--job", 'a"b'), "must be letters, digits"),
    ],
)
def test_what_is_no_target_or_job_is_refused(export, more, message):
    result = export(*more)
    assert result.exit_code
    assert message in result.output


def test_without_a_port_a_target_has_to_be_named(export, monkeypatch):
    monkeypatch.setenv("ARGOSY_CONTROL_PORT", "0")
    assert "name --target" in export().output


def test_a_folder_that_is_a_file_is_told(export, tmp_path):
    (tmp_path / "out").write_text("x")
    result = export()
    assert result.exit_code
    assert "--output" in result.output
