"""The blocks of docs/guides/ray.md, run as a reader would, with a cluster of two nodes on this machine."""

import joblib
import numpy as np
import pytest

from tests.batch import nodes
from tests.docs import page


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_ray(reader, tmp_path_factory):
    folder = tmp_path_factory.mktemp("n")
    with nodes.running(0, 2, log=folder / "log", environ={"ARGOSY_HOME": str(folder)}) as cluster:
        said = page.run("docs/guides/ray.md", reader, ports={"10.0.0.4:6379": cluster.address}, shown=("text",))
    assert "digits" in said
    (label,) = (each for each in reader["answer"].tensors if each.name == "label")
    assert np.array_equal(label.array, joblib.load("model.joblib").predict(reader["x"][500:510]))
