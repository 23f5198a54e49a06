"""The blocks of docs/guides/supply.md, run as a reader would."""

import pytest

from tests.docs import page


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_supply(reader):
    said = page.run("docs/guides/supply.md", reader)
    listed, _, asked = said.partition("PROVIDER")[2].partition("PROVIDER")
    first = [line.split()[:2] for line in listed.splitlines()[1:]]
    assert first[:2] == [["aws", "eu-west-1"], ["aws", "us-east-1"]]
    assert "8x H100 80 GiB" in listed
    assert listed.count("us-east-1 use1-az2") == 1
    assert "p5.48xlarge" in asked
    assert '"zone": "euw1-az2"' in asked
    assert '"trusted": true' in asked
    assert "aws       7 " in said
