import numpy as np
import scipy.stats

from experiments.benchmarks.input_specific import input_specific_samples
from lsrs_tf.statistics.confidence import lower_confidence_bound
from lsrs_tf.statistics.radius_scale import RadiusScale
from lsrs_tf.statistics.sequential import sequential_looks


def test_loses_no_more_than_the_tolerance_anywhere_in_the_interval():
    n, alpha, tolerance = 5_000, 0.01, 0.1
    for hits in (60, 85, 100):
        chosen = input_specific_samples(hits, 100, n, alpha, tolerance)
        interval = scipy.stats.binomtest(hits, 100).proportion_ci(0.999)

        def loss(samples, interval=interval):
            return max(_radius(p, n) - _radius(p, samples) for p in np.linspace(*interval, 33))

        def _radius(p, samples):
            bound = lower_confidence_bound(int(np.rint(p * samples)), samples, alpha)
            return RadiusScale(1.0, 1.0).radius(bound)

        looks = sequential_looks(n).tolist()
        assert loss(chosen) <= tolerance + 1e-9
        assert chosen == looks[0] or loss(looks[looks.index(chosen) - 1]) > tolerance - 1e-9
