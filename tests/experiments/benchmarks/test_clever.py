import numpy as np

from experiments.benchmarks import clever
from tests.lsrs_tf.models.test_base_classifier import _linear_model


def test_all_three_are_the_distance_of_a_linear_network():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(16, 2)).astype(np.float32)
    model = _linear_model(kernel, np.zeros(2, np.float32))
    images = rng.uniform(0.4, 0.6, size=(3, 4, 4, 1)).astype(np.float32)
    labels = model.predict(images, verbose=0).argmax(axis=1)
    proven, estimates, found = clever.distances(
        model, images, labels, radius=5.0, maxima=10, gradients_per_maximum=2, verbose=0
    )
    np.testing.assert_allclose(estimates, proven, rtol=1e-4)
    np.testing.assert_allclose(found, proven, rtol=0.02)
    assert np.all(proven <= found)
    assert "| 7 " in clever.table([7, 8, 9], proven, estimates, found)
