"""What every loss has to pass. A new loss is a row of `CASES`."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import losses
from tests.lsrs_tf.losses import statements


def _global(logits, label):
    return 1.5 * np.sqrt(2) * (np.arange(len(logits)) != label)


# name: (loss of keyword arguments, statement of one image).
CASES = {
    "offset": (
        functools.partial(losses.OffsetCrossentropy, 0.4, 0.25),
        lambda z, y: statements.offset_crossentropy(z, y, 0.4, 0.25),
    ),
    "smoothed": (
        functools.partial(losses.SmoothedCrossentropy, 0.3),
        lambda z, y: statements.smoothed_crossentropy(z, y, 0.3),
    ),
    "hinge": (
        functools.partial(losses.MarginHinge, 0.7),
        lambda z, y: statements.margin_hinge(z, y, 0.7),
    ),
    "lipschitz margin": (
        functools.partial(losses.LipschitzMarginCrossentropy, 0.3, 1.5, pairwise=False),
        lambda z, y: statements.lipschitz_margin_crossentropy(z, y, 0.3, _global(z, y)),
    ),
    "emma": (
        functools.partial(losses.EMMA, 0.3, 1.5, pairwise=False),
        lambda z, y: statements.emma(z, y, 0.3, _global(z, y)),
    ),
    "certificate": (
        functools.partial(losses.CertificateRegularizedCrossentropy, 0.5, 1.5, pairwise=False),
        lambda z, y: statements.certificate_regularized_crossentropy(z, y, 0.5, _global(z, y)),
    ),
}
BATCHES = {
    "usual": np.random.default_rng(0).normal(size=(6, 5)),
    "two classes": np.random.default_rng(1).normal(size=(6, 2)),
    "ties": np.tile([1.0, 1.0, 0.5, 1.0], (6, 1)),
    "all equal": np.zeros((6, 3)),
    "extreme": np.tile([1e4, -1e4, 0.0, 1e4 - 1.0], (6, 1)),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=BATCHES)
def batch(request):
    logits = BATCHES[request.param]
    return np.arange(6) % logits.shape[1], logits


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_values_are_those_of_the_statement(case, batch, dtype, tolerance):
    make, statement = case
    labels, logits = batch
    expected = [statement(row, label) for row, label in zip(logits, labels, strict=True)]
    values = make(reduction=None, dtype=dtype)(labels, logits)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("logits", BATCHES.values(), ids=BATCHES)
def test_gradients_are_finite(case, logits):
    logits = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = case[0]()(np.arange(6) % logits.shape[1], logits)
    assert np.isfinite(tape.gradient(value, logits)).all()


# EMMA stops a gradient, see its own test.
@pytest.mark.parametrize("name", [name for name in CASES if name != "emma"])
def test_gradients_are_differences_of_the_statement(name):
    make, statement = CASES[name]
    labels, logits = np.arange(6) % 5, BATCHES["usual"]
    inputs = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = make(reduction="sum", dtype="float64")(labels, inputs)
    steps = 1e-6 * np.eye(5)
    expected = [
        [(statement(row + step, label) - statement(row - step, label)) / 2e-6 for step in steps]
        for row, label in zip(logits, labels, strict=True)
    ]
    np.testing.assert_allclose(tape.gradient(value, inputs), expected, atol=1e-7)


def test_weights_and_reductions_are_keras(case):
    make, _ = case
    labels, logits = np.arange(6) % 5, BATCHES["usual"]
    weights = np.array([0.0, 1, 2, 0.5, 1, 1])
    each = np.array(make(reduction=None)(labels, logits))
    assert each.shape == (6,)
    assert float(make(reduction="sum")(labels, logits)) == pytest.approx(each.sum(), rel=1e-5)
    mean = make()(labels, logits, sample_weight=weights)
    assert float(mean) == pytest.approx((each * weights).mean(), rel=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
@pytest.mark.parametrize("column", [False, True])
def test_kinds_of_labels(case, dtype, column):
    labels = np.arange(6) % 5
    expected = case[0]()(labels, BATCHES["usual"])
    given = (labels[:, None] if column else labels).astype(dtype)
    np.testing.assert_array_equal(case[0]()(given, BATCHES["usual"]), expected)


@pytest.mark.parametrize("wrong", [-1, 5, 1.5, np.nan, 1e9])
def test_wrong_labels_are_refused(case, wrong):
    labels = np.array([0, 1, 2, 3, 4, wrong])
    message = r"whole numbers from 0 to 4\."
    with pytest.raises(ValueError, match=message + " Received"):
        case[0]()(labels, BATCHES["usual"])
    in_graph = tf.function(case[0]())
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        in_graph(tf.constant(labels, tf.float32), tf.constant(BATCHES["usual"], tf.float32))


def test_wrong_labels_show_where_assertions_are_not_compiled(case):
    compiled = tf.function(case[0](reduction=None), jit_compile=True)
    values = compiled(tf.constant([0, 1, 2, 3, 4, 5]), tf.constant(BATCHES["usual"], tf.float32))
    np.testing.assert_array_equal(np.isnan(values), [False] * 5 + [True])


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        (np.eye(5), np.zeros((5, 5)), r"one integer label .*argmax"),
        (np.zeros((6, 2)), np.zeros((6, 5)), "one integer label"),
        (np.zeros(4), np.zeros((6, 5)), r"as many labels as rows.*\(4,\)"),
        (np.zeros(6), np.zeros((6, 1)), "at least 2 classes"),
        (np.zeros(6), np.zeros(6), "at least 2 classes"),
        (np.zeros(6), np.zeros((6, 5, 5)), "at least 2 classes"),
    ],
)
def test_wrong_shapes_are_refused_before_anything_runs(case, labels, logits, message):
    for loss in (case[0](), tf.function(case[0]())):
        with pytest.raises(ValueError, match=message):
            loss(tf.constant(labels, tf.float32), tf.constant(logits, tf.float32))


def test_labels_of_unknown_shape(case):
    @tf.function(
        input_signature=[tf.TensorSpec(None, tf.int64), tf.TensorSpec([None, 5], tf.float32)]
    )
    def in_graph(labels, logits):
        return case[0]()(labels, logits)

    labels = np.arange(6) % 5
    expected = case[0]()(labels, BATCHES["usual"])
    assert float(in_graph(labels, BATCHES["usual"])) == pytest.approx(float(expected), rel=1e-6)


def test_configuration_round_trip(case):
    loss = case[0](reduction="sum", name="mine", dtype="float64")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert (again.name, again.reduction, again.dtype) == ("mine", "sum", "float64")


def test_half_precision_is_refused_and_half_logits_are_not(case):
    with pytest.raises(ValueError, match="'float32' or 'float64'"):
        case[0](dtype="float16")
    value = case[0]()([0, 1], tf.constant([[100.0, 1.0], [30000.0, -30000.0]], tf.float16))
    assert value.dtype == "float32"
    assert np.isfinite(value)
