"""The blocks of docs/guides/supply.md, run as a reader would."""

import pytest

from argosy.spec import strict
from argosy.spec.settings import Settings
from argosy.supply.hosts import Figures
from tests.docs import page


@pytest.mark.slow
def test_supply(reader):
    declared, shown = list[str](), list[str]()
    said = page.run("docs/guides/supply.md", reader, checks={"yaml": declared.append, "text": shown.append})
    figures = [line.split()[0] for line in shown[0].splitlines()[2:-1]]
    assert set(figures) <= set(Figures.__struct_fields__)
    (external,) = strict.load_yaml(declared[2], Settings, "config.yaml").supply.external.values()
    assert (external.models, external.budget) == ({"support": "big-1"}, 25.0)
    listed, _, asked = said.partition("PROVIDER")[2].partition("PROVIDER")
    first = [line.split()[:2] for line in listed.splitlines()[1:]]
    assert first[:2] == [["aws", "eu-west-1"], ["aws", "us-east-1"]]
    assert "8x H100 80 GiB" in listed
    assert listed.count("us-east-1 use1-az2") == 1
    assert "p5.48xlarge" in asked
    assert '"zone": "euw1-az2"' in asked
    assert '"trusted": true' in asked
    assert "aws       7 " in said
    assert "supply.external in config.yaml names nobody" in said
    providers = strict.load_yaml(declared[0], Settings, "config.yaml").supply.providers
    assert list(providers) == ["here", "lab", "cluster"]
    (group,) = strict.load_yaml(declared[1], Settings, "config.yaml").supply.groups.values()
    assert (group.machines, group.market, group.join[0]) == (4, "spot", "ssh")
    assert "supply.groups in config.yaml names none" in said
    launched = said.partition("LAUNCH")[2]
    assert "use1-az1  ready  0.314" in launched
    assert "ending" in launched
