import dataclasses

import numpy as np
import pytest

from lsrs_tf.certification import settings
from lsrs_tf.certification.settings import Settings, SettingsArguments
from lsrs_tf.statistics import confidence


@pytest.mark.parametrize("value", [0, -1, 1.5, 100.0, "5", None, True, 10**9 + 1, 2**63])
def test_impossible_counts_are_refused(value):
    with pytest.raises(ValueError, match="`n0` must be a whole number"):
        confidence.checked_count(value, "n0")


def test_numpy_integers_are_integers():
    assert confidence.checked_count(np.int32(5), "n") == 5
    assert settings.checked_seed(np.int64(-5)) == -5


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 0.5, None, "1"])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        settings.checked_seed(seed)


@pytest.mark.parametrize("alpha", [None, "0.001", 0, 1, True, 1e-200])
def test_impossible_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        Settings(n0=100, n=1000, alpha=alpha)


def test_fewest_samples_that_can_certify():
    assert Settings(n0=1, n=10, alpha=0.001).n == 10
    with pytest.raises(ValueError, match="Use n=10 or more"):
        Settings(n0=1, n=9, alpha=0.001)


def test_editors_know_every_setting():
    named = [field.name for field in dataclasses.fields(Settings)]
    assert list(SettingsArguments.__annotations__) == named
