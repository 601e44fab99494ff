import concurrent.futures
import threading

import numpy as np
import pytest

from tests.export.request_merger import RequestMerger


def test_requests_that_wait_are_run_together_and_answered_apart():
    sizes, may_run = [], threading.Event()

    def run(name, inputs):
        may_run.wait()
        if name == "broken":
            raise ValueError("broken")
        sizes.append(len(inputs["x"]))
        return {"y": 2 * inputs["x"]}

    merger = RequestMerger(run, 8)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(merger.run, "double", {"x": np.array([i, i])}) for i in range(20)]
        broken = pool.submit(merger.run, "broken", {"x": np.zeros(1)})
        may_run.set()
        for i, answer in enumerate(answers):
            assert answer.result()["y"].tolist() == [2 * i, 2 * i]
        with pytest.raises(ValueError, match="broken"):
            broken.result()
    assert sum(sizes) == 40 and max(sizes) <= 8 and len(sizes) < 20
