"""The pages of batch jobs."""

import pytest

from argosy.store import jobs, ledger
from tests.console.conftest import Console

pytestmark = pytest.mark.xdist_group("console")


def test_jobs_say_how_far_they_are_what_they_cost_and_when_they_run(console: Console):
    with console.client() as client:
        text = client.get("/console/jobs").text
        assert "30.9 %" in text
        assert "0.0123" in text
        assert 'href="/console/jobs/nightly"' in text
        one = client.get("/console/jobs/spam-0a1b2c").text
        assert "<script>document" not in one
        assert "failed" in one
        assert client.get("/console/jobs/none").status_code == 404


def test_cancelling_is_confirmed_and_told_to_the_ledger(console: Console):
    database = console.database
    with console.client() as client:
        page = client.get("/console/jobs/nightly/cancel").text
        token = page.split('name="form_token" value="')[-1].split('"')[0]
        form = {"form_token": token, "reason": "too dear"}
        assert client.post("/console/jobs/nightly/cancel", data={**form, "form_token": "x"}).status_code == 403
        assert jobs.get(database, "nightly").cancelled is None
        assert "cancelled" in client.post("/console/jobs/nightly/cancel", data=form).text
    assert jobs.get(database, "nightly").cancelled is not None
    with database.read() as connection:
        last = ledger.entries(connection, "batch/nightly")[-1]
    assert (last.event, last.actor, last.reason) == ("cancel", "console", "too dear")
