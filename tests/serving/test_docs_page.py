"""The page of a model in a real browser: its form asks the model, and nothing is refused by its own policy."""

import numpy as np
from selenium.webdriver.common.by import By

from argosy.spec.tensor import Tensor
from tests.console.conftest import _chromium, chromium  # noqa: F401
from tests.serving.conftest import RunningReplica
from tests.serving.test_rows import COLUMNS, FLOWERS, Flowers


def test_the_form_asks_the_model(chromium):  # noqa: F811
    with RunningReplica({"flowers": Flowers()}, grpc=False) as replica:
        replica.replica.plane.get("flowers").example = [Tensor("x", "FP64", np.array(FLOWERS[:1]))]
        driver = chromium.driver
        driver.get(f"{replica.url}/docs")
        chromium.until(lambda: driver.find_element(By.ID, "title").text == "flowers")
        names = [each.text for each in driver.find_elements(By.CSS_SELECTOR, "#columns code")]
        assert names == list(COLUMNS)
        fields = driver.find_elements(By.CSS_SELECTOR, "#fields input")
        assert [each.get_property("value") for each in fields] == [str(value) for value in FLOWERS[0]]
        answers = []
        for length in ("1.5", "6"):
            fields[2].clear()
            fields[2].send_keys(length)
            driver.execute_script("document.getElementById('answer').textContent = ''")
            driver.find_element(By.CSS_SELECTOR, "#try button").click()
            answers.append(chromium.until(lambda: driver.find_element(By.ID, "answer").text.partition("…")[0]))
        assert answers == ['200 {"predictions":["setosa"]}', '200 {"predictions":["virginica"]}']
        assert f"{replica.url}/invocations" in driver.find_element(By.ID, "curl").text
        assert chromium.complaints() == []
        driver.get("about:blank")
