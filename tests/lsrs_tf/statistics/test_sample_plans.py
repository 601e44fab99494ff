import numpy as np
import pytest

from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import RadiusScale
from lsrs_tf.statistics.sample_plans import next_pilot, pilot_sizes, planned_samples


def _radius(p, n):
    return RadiusScale(1.0, 1.0).radius(confidence.lower_confidence_bound(round(p * n), n, 0.001))


@pytest.mark.parametrize("p", [0.51, 0.6, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("tolerance", [0.05, 0.2])
def test_plan_is_the_fewest_samples_within_the_tolerance(p, tolerance):
    hits = round(p * 10_000)
    share = (hits + 0.5) / 10_001
    planned = planned_samples(hits, 10_000, 100_000, 0.001, tolerance)
    assert _radius(share, planned) >= _radius(share, 100_000) - tolerance
    assert _radius(share, planned) > 0
    fewer = int(planned / 1.2)
    assert _radius(share, fewer) < _radius(share, 100_000) - tolerance or _radius(share, fewer) == 0


def test_images_that_cannot_be_certified_are_planned_to_cost_little():
    assert planned_samples(40, 100, 100_000, 0.001, 0.2) == 20
    assert next_pilot(40, 100, 100_000, 0.001, 0.2) == 100


def test_pilot_grows_until_the_plan_is_believed():
    assert next_pilot(0, 0, 100_000, 0.001, 0.2) == 100
    assert next_pilot(100, 100, 100_000, 0.001, 0.2) == 200
    taken = 100
    while (more := next_pilot(taken, taken, 100_000, 0.001, 0.2)) > taken:
        taken = more
    assert 0.25 * planned_samples(taken, taken, 100_000, 0.001, 0.2) <= taken <= 12_800
    # Misses make a share known sooner.
    assert next_pilot(180, 200, 100_000, 0.001, 0.2) == 200
    # Never more than the most samples.
    assert next_pilot(0, 0, 50, 0.001, 0.2) == 50
    assert next_pilot(50, 50, 50, 0.001, 0.2) == 50


def test_pilots_have_one_of_few_sizes():
    n, alpha, tolerance = 3_000, 0.001, 0.02
    sizes = pilot_sizes(n)
    assert sizes == [100, 200, 400, 800, 1_600, 3_000]
    assert pilot_sizes(50) == [50]
    for share in np.linspace(0, 1, 41):
        taken = 0
        while (wanted := next_pilot(round(share * taken), taken, n, alpha, tolerance)) != taken:
            taken = wanted
        assert taken in sizes
