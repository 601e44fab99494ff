"""Rows of a batch that share passes are answered as each alone."""

import numpy as np
import pytest
import tensorflow as tf

from export.radius_tests import RadiusTests
from export.signatures import Signatures
from lsrs_tf.certification.certifier import Certifier

# Of many passes where the answer is hard.
SETTINGS = {"n0": 20, "n": 2_000, "alpha": 0.01, "batch_size": 64}
ROWS = 19
IMAGES = np.random.default_rng(5).uniform(size=(ROWS, 8, 8, 1)).astype(np.float32)
SEEDS = np.arange(ROWS) % 3
# In turn easy to certify, hard, and easy to give up.
RADII = np.resize(np.float32([0.02, 0.42, 0.75]), ROWS)


def _signatures(model, noise="float32"):
    certifier = Certifier(model, **SETTINGS, noise=noise, jit_compile=False)
    signatures = Signatures(certifier, RadiusTests(certifier), 200, 1_000)
    return signatures, tf.function(
        signatures.certify_at_with,
        input_signature=[
            tf.TensorSpec([None, 8, 8, 1], tf.float32),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None], tf.float32),
        ],
    )


@pytest.fixture(scope="module")
def served(model):
    return _signatures(model)


@pytest.mark.parametrize("noise", ["float32", pytest.param("exact", marks=pytest.mark.slow)])
def test_a_batch_of_all_kinds_is_answered_as_by_the_engine(model, served, noise):
    signatures, certify_at = served if noise == "float32" else _signatures(model, noise)
    answer = certify_at(IMAGES, np.full(ROWS, 2), RADII)
    samples = answer["samples"].numpy()
    for radius in np.unique(RADII):
        level = signatures.radii[np.searchsorted(signatures.radii, radius)]
        settings = {**SETTINGS, "noise": noise, "target_radii": level, "seed": 2}
        engine = Certifier(model, method="sequential", jit_compile=False, **settings)
        chosen = np.equal(RADII, radius)
        expected = list(engine.certify_each(IMAGES[chosen]))
        assert answer["label"].numpy()[chosen].tolist() == [one.label for one in expected]
        assert samples[chosen].tolist() == [one.samples for one in expected]
    # Early and late ends, and both answers.
    assert samples.min() < 64 and samples.max() > 500
    assert 0 < answer["robust"].numpy().sum() < ROWS


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9])
def test_rows_together_are_answered_as_rows_of_other_batches(served, rows):
    _, certify_at = served
    whole = certify_at(IMAGES, SEEDS, RADII)
    order = np.random.default_rng(rows).permutation(ROWS)[:rows]
    part = certify_at(IMAGES[order], SEEDS[order], RADII[order])
    for name, value in whole.items():
        np.testing.assert_array_equal(part[name], value.numpy()[order])


def test_refused_rows_take_no_places_and_harm_no_neighbour(served):
    _, certify_at = served
    whole = certify_at(IMAGES, SEEDS, RADII)
    images, radii = IMAGES.copy(), RADII.copy()
    images[3, 0, 0, 0], images[0] = np.nan, -1
    radii[8], radii[-1] = np.nan, 100.0
    refused = np.isin(np.arange(ROWS), [0, 3, 8, ROWS - 1])
    answer = certify_at(images, SEEDS, radii)
    for name, value in whole.items():
        np.testing.assert_array_equal(answer[name][~refused], value[~refused])
    assert not answer["samples"].numpy()[refused].any()
    assert (answer["label"].numpy()[refused] == -1).all()
    nothing = certify_at(images[:1], SEEDS[:1], radii[:1])
    assert nothing["samples"].numpy().tolist() == [0]
    assert all(len(value) == 0 for value in certify_at(images[:0], SEEDS[:0], radii[:0]).values())
