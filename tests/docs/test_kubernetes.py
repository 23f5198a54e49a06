"""The blocks of docs/guides/kubernetes.md, run as a reader would."""

import pytest
import yaml

from tests.docs import page


@pytest.mark.slow
def test_kubernetes(reader):
    said = page.run("docs/guides/kubernetes.md", reader, shown=("text", "yaml"))
    text = said[said.index("# Endpoint digits") :]
    kinds = [each["kind"] for each in yaml.safe_load_all(text)]
    assert kinds[-4:] == ["ConfigMap", "NetworkPolicy", "Deployment", "PodDisruptionBudget"]
