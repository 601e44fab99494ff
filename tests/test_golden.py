"""Answers stay what they were, bit for bit, where no change was meant."""

import json

import pytest

from tests.golden import PATH, answers


def _assert_same(found, expected, place):
    if isinstance(expected, dict):
        assert set(found) == set(expected), place
        for name, value in expected.items():
            _assert_same(found[name], value, f"{place}/{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for index, value in enumerate(expected):
            _assert_same(found[index], value, f"{place}/{index}")
    elif isinstance(expected, float):
        # Another SciPy, or processor, rounds otherwise.
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), place
    else:
        assert found == expected, place


def test_answers_are_those_of_the_version_before():
    _assert_same(answers(), json.loads(PATH.read_text()), "golden")
