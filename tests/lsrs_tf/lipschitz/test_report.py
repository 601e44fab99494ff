import keras
import numpy as np

import lsrs_tf
from lsrs_tf import layers, models
from lsrs_tf.lipschitz.report import printed_up


def _rows(model):
    return {row.name: row.layer_bound for row in lsrs_tf.lipschitz_report(model).rows}


def test_has_a_row_per_layer_and_the_bound_of_the_whole():
    model = models.resnet18(orthogonal_layers=5, width=4, input_shape=(8, 8, 3))
    report = lsrs_tf.lipschitz_report(model)
    assert report.bound == lsrs_tf.lipschitz_bound(model)
    rows = _rows(model)
    assert rows["centring"].kind == "isometric"
    assert rows["stage1_block1/stage1_block1_conv1"].kind == "orthogonal"
    assert rows["stage1_block1"].kind == "bounded"
    assert rows["conv1_sort"].method == "sorting"
    for bound in rows.values():
        assert bound.bound <= 1 + 1e-9
    assert abs(rows["conv1"].smallest_singular_value - 1) < 1e-12
    table = str(report)
    assert len(table.splitlines()) == len(report.rows) + 2
    assert "stage1_block2/stage1_block2_conv2" in table and table.splitlines()[-1].startswith(
        "whole"
    )


def test_singular_values_are_those_of_the_layers():
    kernel = np.array([[3.0, 0.0], [0.0, 0.5]])
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(2, name="plain"),
            layers.Standardization(0.0, [0.5, 2.0], name="scaled"),
            keras.layers.ReLU(name="relu"),
        ]
    )
    model.layers[0].kernel.assign(kernel)
    rows = _rows(model)
    assert abs(rows["plain"].smallest_singular_value - 0.5) < 1e-12
    assert rows["scaled"].smallest_singular_value == 0.5
    assert rows["relu"].smallest_singular_value is None
    lines = str(lsrs_tf.lipschitz_report(model)).splitlines()
    (line,) = (line for line in lines if line.startswith("relu"))
    assert "-" in line
    # The two linear layers are one matrix, diag(2, 0.5) diag(3, 0.5).
    assert 6 <= rows["plain .. scaled"].bound <= 6 + 1e-12
    assert abs(rows["plain .. scaled"].smallest_singular_value - 0.25) < 1e-12


def test_frozen_encoder_is_reported_alike():
    model = models.resnet18(orthogonal_layers=5, width=4, input_shape=(8, 8, 3))
    kinds = [row.layer_bound.kind for row in lsrs_tf.lipschitz_report(model).rows]
    frozen = [row.layer_bound.kind for row in lsrs_tf.lipschitz_report(model.freeze_encoder()).rows]
    assert kinds == frozen


def test_printed_bounds_are_rounded_up():
    for bound in (1.0, 1 + 1e-15, 1 + 4e-13, 1 / 3, 5.123456789012345):
        assert float(printed_up(bound)) >= bound
        assert float(printed_up(bound)) <= bound + 1.1e-12


def test_rounding_error_bounds_what_float64_does_to_an_image():
    model = models.resnet18(orthogonal_layers=9, width=4, input_shape=(16, 16, 3))
    frozen = model.freeze_encoder()
    error = lsrs_tf.lipschitz_report(frozen).rounding_error
    assert error < 1e-5
    images = np.random.default_rng(0).uniform(size=(4, 16, 16, 3))
    # Images that differ by far less than that have latents as close; what is left is rounding.
    moved = (frozen(images) - frozen(images * (1 + 1e-15))).numpy().reshape(4, -1)
    assert np.linalg.norm(moved, axis=1).max() < error / 100


def test_rounding_error_grows_with_what_cancels():
    def error(offset):
        layer = keras.layers.BatchNormalization()
        model = keras.Sequential([keras.Input((4, 4, 3)), layer])
        layer.moving_mean.assign([offset] * 3)
        layer.beta.assign([offset] * 3)
        return lsrs_tf.lipschitz_report(model).rounding_error

    # 48 values of this size, each rounded once at least.
    assert error(1e12) > 48**0.5 * 2.0**-53 * 1e12 > 1e-12 > error(0.0)


def test_rounding_error_of_unknown_sizes_is_infinite():
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.ReLU()(images))
    assert lsrs_tf.lipschitz_report(model).rounding_error == np.inf
