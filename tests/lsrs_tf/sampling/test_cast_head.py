import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, models
from lsrs_tf.sampling.cast_head import cast_head
from lsrs_tf.sampling.row_independence import checked_num_classes
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

_SHAPE = (4, 4, 2)


def _under_policy(build):
    """Returns what a function builds under Keras' policy, with logits in float32."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return build()
    finally:
        keras.config.set_dtype_policy("float32")


def _normalized():
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, size=(64, *_SHAPE)))
    return layer


def _sequential():
    return keras.Sequential(
        [
            keras.Input(_SHAPE),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(3, dtype="float32"),
        ]
    )


def _adapted():
    return keras.Sequential(
        [
            keras.Input(_SHAPE),
            _normalized(),
            keras.layers.Conv2D(4, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3, dtype="float32"),
        ]
    )


def _functional():
    latents = keras.Input(_SHAPE)
    twice = keras.layers.Conv2D(2, 3, padding="same")
    values = keras.layers.Add()([twice(latents), twice(twice(latents))])
    inner = keras.Sequential([keras.Input(_SHAPE), keras.layers.Conv2D(3, 3), keras.layers.ReLU()])
    values = keras.ops.mean(inner(keras.ops.tanh(values)), axis=(1, 2))
    values = keras.layers.Dense(3, dtype="float32")(values)
    return keras.Model(latents, keras.layers.Softmax(dtype="float32")(values))


def _wrapped():
    # The dtype of a layer inside follows that of the layer around it.
    inner = keras.layers.Dense(5, activation="relu")
    return keras.Sequential(
        [
            keras.Input(_SHAPE),
            keras.layers.Reshape((16, 2)),
            keras.layers.TimeDistributed(inner),
            keras.layers.Flatten(),
            keras.layers.Dense(3, dtype="float32"),
        ]
    )


def _nested_at_the_end():
    last = [keras.Input(_SHAPE), keras.layers.Flatten(), keras.layers.Dense(3, dtype="float32")]
    first = keras.layers.Conv2D(2, 3, padding="same")
    return keras.Sequential([keras.Input(_SHAPE), first, keras.Sequential(last)])


def _orthogonal():
    return keras.Sequential(
        [
            keras.Input(_SHAPE),
            layers.OrthogonalConv2D(4, 3),
            layers.GroupSort(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, dtype="float32"),
        ]
    )


def _trained(head):
    """Gives a head weights that no initializer gives, positive where they are variances."""
    rng = np.random.default_rng(1)
    head.set_weights(
        [
            np.asarray(np.abs(values) + rng.uniform(0.1, 0.3, values.shape), values.dtype)
            if "variance" in weight.path
            else np.asarray(values + rng.normal(0, 0.2, values.shape), values.dtype)
            for weight, values in zip(head.weights, head.get_weights(), strict=True)
        ]
    )
    return head


def _latents(rows=16):
    return tf.constant(np.random.default_rng(2).normal(size=(rows, *_SHAPE)), tf.float32)


_HEADS = [_sequential, _adapted, _functional, _wrapped, _nested_at_the_end, _orthogonal]


@pytest.mark.parametrize("build", _HEADS)
def test_cast_head_is_that_of_keras_policy_to_the_last_bit(build):
    head = build() if build is _adapted else _trained(build())
    before, (logits, weights) = head.get_config(), (head(_latents()), head.get_weights())
    cast, expected = cast_head(head, "bfloat16", _SHAPE), _under_policy(build)
    if build is _adapted:
        keras.tree.map_structure(lambda to, of: to.assign(of), expected.weights, head.weights)
        expected.layers[0].finalize_state()
    else:
        expected.set_weights(head.get_weights())
    found = cast(_latents(), training=False)
    np.testing.assert_array_equal(found, expected(_latents(), training=False))
    assert found.dtype == tf.float32
    # It rounds, and little.
    difference = np.abs(found - logits).max()
    assert 0 < difference < 0.1 * np.std(logits)
    assert {weight.dtype for weight in cast.weights if "count" not in weight.path} == {"float32"}
    # Nothing has happened to the head.
    assert head.get_config() == before
    np.testing.assert_array_equal(head(_latents()), logits)
    for one, other in zip(head.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert checked_num_classes(cast, _SHAPE, 16) == 3


def test_it_is_a_snapshot():
    head = _sequential()
    cast = cast_head(head, "bfloat16", _SHAPE)
    before = cast(_latents(), training=False).numpy()
    _trained(head)
    np.testing.assert_array_equal(cast(_latents(), training=False), before)
    assert not cast.trainable_weights


def test_head_that_was_built_by_a_call_and_one_of_a_fixed_batch():
    called = keras.Sequential(_sequential().layers)
    called(_latents())
    fixed = keras.Input(batch_shape=(16, *_SHAPE))
    for head in (called, keras.Model(fixed, called(fixed))):
        found = cast_head(head, "bfloat16", _SHAPE)(_latents(), training=False)
        np.testing.assert_array_equal(
            found, cast_head(called, "bfloat16", _SHAPE)(_latents(), training=False)
        )


def test_head_in_half_precision_stays_what_it_is():
    head = _under_policy(_sequential)
    cast = cast_head(head, "bfloat16", _SHAPE)
    np.testing.assert_array_equal(cast(_latents()), head(_latents()))


class _Scaled(keras.layers.Layer):
    """Multiplies by a number that its configuration does not have."""

    scale = 1.0

    def call(self, inputs):
        return inputs * self.scale


class _WithoutConfig(keras.layers.Layer):
    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        return inputs * self.scale


class _InFloat32(keras.layers.Dense):
    """Computes in float32 whatever it is told."""

    def call(self, inputs):
        return tf.matmul(inputs, tf.constant(1.0, tf.float32, [inputs.shape[-1], self.units]))


class _Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(keras.ops.reshape(inputs, (-1, 32)))


def _head_with(*inner):
    last = [keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input(_SHAPE), keras.layers.Conv2D(2, 1), *inner, *last])


def _head_with_a_secret():
    layer = _Scaled()
    layer.scale = 3.0
    return _head_with(layer)


def _patched():
    head = _head_with(keras.layers.ReLU())
    head.layers[1].call = lambda inputs: 2 * inputs
    return head


def _quantized():
    head = _head_with(keras.layers.Dense(4))
    head.layers[1].quantize("int8")
    return head


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: keras.Sequential([keras.Input(_SHAPE), keras.layers.Flatten()]), "none there"),
        (
            lambda: keras.Sequential(
                [keras.Input(_SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)]
            ),
            "nothing would be faster",
        ),
        (lambda: keras.layers.Dense(3), "of more layers than one"),
        (_Subclassed, "_Subclassed"),
        (_head_with_a_secret, "before anything is cast"),
        (lambda: _head_with(_WithoutConfig(np.ones(2))), "cannot be copied"),
        (lambda: _head_with(_InFloat32(3)), "does not run in bfloat16"),
        (_patched, "its own call"),
        (_quantized, "not a plain one|cannot be copied"),
    ],
)
def test_head_that_cannot_be_cast_is_refused(build, message):
    head = build()
    with pytest.raises(ValueError, match=message):
        cast_head(head, "bfloat16", _SHAPE)


@pytest.mark.parametrize("dtype", ["float16", "BFLOAT16", "", 16, np.float32, ["bfloat16"], True])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match="`head_dtype` must be one of 'bfloat16', or None"):
        SmoothedClassifier(models.convnet(width=4), head_dtype=dtype)
