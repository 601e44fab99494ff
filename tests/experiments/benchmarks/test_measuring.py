import functools
import time

import numpy as np

from experiments.benchmarks.measuring import interleaved_medians, peak_memory


def test_functions_take_turns_and_get_their_medians():
    calls = []

    def slow(name, seconds):
        calls.append(name)
        time.sleep(seconds)

    medians = interleaved_medians(
        {"a": functools.partial(slow, "a", 0.001), "b": functools.partial(slow, "b", 0.02)}, 3
    )
    assert calls == ["a", "b"] * 5
    assert 0.001 <= medians["a"] < medians["b"]


def _filler(megabytes):
    return lambda: np.ones((megabytes, 2**17)).sum()


def test_peak_memory_is_that_of_the_function():
    assert 50e6 < peak_memory(_filler, 64) < 100e6
