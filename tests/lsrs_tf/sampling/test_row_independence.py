import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.sampling import row_independence
from lsrs_tf.sampling.row_independence import checked_num_classes

SHAPE = (4, 4, 3)


class _Applied(keras.layers.Layer):
    """Applies a function of TensorFlow to the latents [rows, *SHAPE] or features [rows, ...]."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self._function = function

    def call(self, inputs):
        return self._function(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


def _head(*first, dtype=None):
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            *first,
            keras.layers.Conv2D(8, 3, activation="relu", dtype=dtype),
            keras.layers.Flatten(),
            keras.layers.Dense(5, dtype=dtype),
        ]
    )


def _rows_like(inputs):
    return tf.range(tf.shape(inputs)[0])


MIXTURES = {
    "mean": lambda x: x + tf.reduce_mean(x, 0, keepdims=True),
    "a thousandth of the mean": lambda x: x + 1e-3 * tf.reduce_mean(x, 0, keepdims=True),
    "a hundred thousandth of the mean": lambda x: x + 1e-5 * tf.reduce_mean(x, 0, keepdims=True),
    "roll": lambda x: tf.roll(x, 1, 0),
    "roll of more than two": lambda x: tf.roll(x, 1, 0) if x.shape[0] > 2 else x,
    "reversed": lambda x: x[::-1],
    "cumulative sums": lambda x: tf.cumsum(x, 0),
    "maximum": lambda x: x + 1e-3 * tf.reduce_max(x, 0, keepdims=True),
    "minimum": lambda x: tf.maximum(x, 0.5 * tf.reduce_min(x, 0, keepdims=True)),
    "statistics of the batch": lambda x: (x - tf.reduce_mean(x, 0)) / tf.math.reduce_std(x, 0),
    "first row": lambda x: x + 1e-3 * x[:1],
    "first row alone": lambda x: tf.repeat(x[:1], tf.shape(x)[0], 0),
    "distant rows": lambda x: x + 0.01 * tf.roll(x, -(x.shape[0] // 2), 0),
    "last row into the first": lambda x: x + tf.pad(x[-1:], [[0, x.shape[0] - 1], *[[0, 0]] * 3]),
    "large values": lambda x: tf.where(tf.abs(x) > 20, x + tf.reduce_mean(x, 0), x),
    "where any is large": lambda x: tf.cond(
        tf.reduce_max(tf.abs(x)) > 20, lambda: tf.roll(x, 1, 0), lambda: x
    ),
    "where none is large": lambda x: tf.cond(
        tf.reduce_max(tf.abs(x)) < 20, lambda: tf.roll(x, 1, 0), lambda: x
    ),
    "order": lambda x: x + 0.1 * tf.reshape(tf.cast(_rows_like(x), x.dtype), [-1, 1, 1, 1]),
}


@pytest.mark.parametrize("rows", [3, 20, 256])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_heads_that_mix_rows_are_refused(mixture, rows):
    with pytest.raises(ValueError, match="what else is in the batch"):
        checked_num_classes(_head(_Applied(MIXTURES[mixture])), SHAPE, rows)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_heads_that_mix_rows_in_half_precision_are_refused(mixture):
    head = _head(_Applied(MIXTURES[mixture], dtype="mixed_bfloat16"), dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match="what else is in the batch"):
        checked_num_classes(head, SHAPE, 256)


def test_every_pair_of_few_rows_is_told_apart():
    kept = row_independence._kept_rows(20)
    for row in range(20):
        for other in set(range(20)) - {row}:
            assert np.any(kept[:, row] & ~kept[:, other])
    # Of many rows, all but those that share a half.
    kept = row_independence._kept_rows(256).astype(int)
    apart = kept.T @ (1 - kept) > 0
    assert apart.sum() >= 0.94 * 256 * 255


def _attention_head():
    tokens = keras.Input((16, 3))
    attended = keras.layers.MultiHeadAttention(2, 8)(tokens, tokens)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Reshape((16, 3)),
            keras.Model(tokens, attended),
            keras.layers.LayerNormalization(),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(5),
        ]
    )


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16", "float64"])
def test_heads_whose_rows_are_independent_are_accepted(dtype):
    keras.config.set_dtype_policy(dtype)
    try:
        heads = [
            _head(),
            _head(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)),
            _head(keras.layers.DepthwiseConv2D(3, padding="same"), keras.layers.MaxPooling2D(2, 1)),
            _head(keras.layers.GroupNormalization(3), keras.layers.GaussianNoise(0.5)),
            _attention_head(),
        ]
        constant = _head()
        constant.set_weights([0 * weight for weight in constant.get_weights()])
        for head in [*heads, constant]:
            for rows in (1, 2, 7, 64, 250):
                assert checked_num_classes(head, SHAPE, rows) == 5
    finally:
        keras.config.set_dtype_policy("float32")


def test_batch_normalization_in_training_mode_is_refused():
    normalization = keras.layers.BatchNormalization()
    normalization.build((None, *SHAPE))
    head = _head(_Applied(lambda x: normalization(x, training=True)))
    with pytest.raises(ValueError, match="what else is in the batch|asked again"):
        checked_num_classes(head, SHAPE, 64)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + tf.random.normal(tf.shape(x)),
        lambda x: x + 1e-3 * tf.random.normal(tf.shape(x)),
        lambda x: tf.nn.dropout(x, 0.01),
        lambda x: tf.where(tf.random.uniform([]) < 0.5, x, -x),
    ],
)
def test_heads_that_are_not_deterministic_are_refused(function):
    # A seed for which the two halves of the last case differ.
    tf.random.set_seed(0)
    with pytest.raises(ValueError, match="when it is asked again"):
        checked_num_classes(_head(_Applied(function)), SHAPE, 64)


def test_what_is_not_finite_is_compared_too():
    own = _head(_Applied(tf.math.log))
    assert checked_num_classes(own, SHAPE, 64) == 5
    mixing = _head(_Applied(lambda x: x + 0 / tf.reduce_max(tf.sign(x - 100), 0, keepdims=True)))
    assert checked_num_classes(mixing, SHAPE, 1) == 5
    spoiling = _head(_Applied(lambda x: x + 0 * tf.reduce_max(tf.exp(x), 0, keepdims=True)))
    with pytest.raises(ValueError, match="what else is in the batch"):
        checked_num_classes(spoiling, SHAPE, 64)


def _for_others():
    return keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])


def _wide():
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Reshape((16, 3))])


def _one_class():
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(1)])


def _two_outputs():
    latents = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(latents)
    return keras.Model(latents, [keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)])


def _fewer_rows():
    return _head(_Applied(lambda x: x[::2]))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (_for_others, r"latents of shape \(4, 4, 3\)"),
        (_wide, r"\(7, 16, 3\)"),
        (_one_class, "at least two classes"),
        (_two_outputs, "one output"),
        (_fewer_rows, "for a batch of 7"),
    ],
)
def test_heads_that_do_not_fit_are_refused(head, message):
    with pytest.raises(ValueError, match=message):
        checked_num_classes(head(), SHAPE, 7)


def _shaken(inputs):
    """Rounds as a device does that sums in another order every time."""
    return inputs * (1 + 1e-7 * tf.random.normal(tf.shape(inputs)))


def test_on_a_device_that_rounds_anew_a_tolerance_is_allowed():
    assert checked_num_classes(_head(_Applied(_shaken)), SHAPE, 64) == 5
    for name in ("a hundred thousandth of the mean", "first row", "large values", "order"):
        with pytest.raises(ValueError, match="what else is in the batch"):
            checked_num_classes(_head(_Applied(_shaken), _Applied(MIXTURES[name])), SHAPE, 64)


def _moved_by(size):
    """Returns a function whose logits are off by so much, relative, in the first half of rows."""
    return lambda x: x * (1 + size * tf.cast(_rows_like(x) < tf.shape(x)[0] // 2, x.dtype))[:, None]


@pytest.mark.parametrize(
    ("used", "size", "accepted"),
    [(False, 5e-4, False), (True, 5e-4, True), (True, 2e-2, False)],
)
def test_places_may_differ_by_a_rounding_of_tf32_where_it_is_used(
    monkeypatch, used, size, accepted
):
    monkeypatch.setattr(row_independence.precision, "tf32_is_used", lambda: used)
    head = keras.Sequential([_head(), _Applied(_moved_by(size))])
    head.build((None, *SHAPE))
    if accepted:
        assert checked_num_classes(head, SHAPE, 16) == 5
    else:
        with pytest.raises(ValueError, match="depend on what else is in the batch"):
            checked_num_classes(head, SHAPE, 16)


@pytest.mark.parametrize("mask", [-1e3, -1e5, -1e9])
@pytest.mark.parametrize("tolerance", ["float32", "tf32", "half"])
def test_masked_class_does_not_hide_rows_that_see_each_other(monkeypatch, mask, tolerance):
    used = getattr(
        row_independence, "_TOLERANCE" + {"float32": ""}.get(tolerance, f"_{tolerance.upper()}")
    )
    monkeypatch.setattr(row_independence, "_tolerance", lambda head: used)
    calls = tf.Variable(0.0)

    def masked(logits):
        # Not bit-equal when asked twice, so that kept rows are compared with a tolerance as well.
        noise = 1e-7 * tf.sin(calls.assign_add(1.0))
        mixed = tf.reduce_mean(logits, axis=0, keepdims=True) + 0.1 * logits + noise
        return tf.concat([mixed[:, 1:], tf.fill([tf.shape(logits)[0], 1], mask)], axis=1)

    head = keras.Sequential([_head(), _Applied(masked)])
    head.build((None, *SHAPE))
    with pytest.raises(ValueError, match="depend on what else is in the batch|asked again"):
        checked_num_classes(head, SHAPE, 16)


def test_tf32_does_not_excuse_rows_that_see_each_other(monkeypatch):
    monkeypatch.setattr(row_independence.precision, "tf32_is_used", lambda: True)
    with pytest.raises(ValueError, match="depend on what else is in the batch"):
        checked_num_classes(
            _head(_Applied(MIXTURES["a hundred thousandth of the mean"])), SHAPE, 16
        )
