import joblib
import numpy as np
import pytest

from argosy_examples import digits

pytest.importorskip("sklearn")


def test_the_network_reads_images_it_has_not_seen(tmp_path):
    case = digits.prepare(tmp_path, lambda line: None)
    images = case.inputs[0].array
    trained_on = {row.tobytes() for row in np.load(case.options.sample)}
    assert sum(row.tobytes() in trained_on for row in images) == 0
    assert case.judge({"label": joblib.load(case.source).predict(images)}).good
    assert not case.judge({"label": np.zeros(len(images))}).good
