import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from lsrs_tf import layers, lipschitz_bound, models
from tests.oracles import jacobian


def _sequential(*parts, shape=(4, 4, 2)):
    return keras.Sequential([keras.Input(shape), *parts])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.OrthogonalConv2D(2, 3), (4, 5, 2)),
        (layers.OrthogonalConv2D(5, 3), (4, 5, 2)),
        (layers.OrthogonalConv2D(2, 2, strides=2), (4, 6, 2)),
        (layers.OrthogonalDense(3), (5,)),
        (layers.OrthogonalDense(5), (3,)),
        (layers.InvertibleDownsampling(2), (4, 6, 2)),
        (layers.Standardization([0.1, 0.2], [0.5, 0.25]), (3, 3, 2)),
        (layers.Standardization(0.3, 3.0), (3, 3, 2)),
        (layers.ConvexResidual(layers.OrthogonalDense(4), layers.OrthogonalDense(4)), (4,)),
        (layers.ConvexResidual(layers.Standardization(0.0, 0.5)), (4,)),
        (keras.layers.Flatten(), (3, 2)),
        (keras.layers.Permute((2, 1)), (3, 2)),
        (keras.layers.Reshape((6,)), (3, 2)),
        (keras.layers.Identity(), (3, 2)),
    ],
)
def test_bound_is_above_the_oracle_and_tight(layer, shape):
    model = _sequential(layer, shape=shape)
    if isinstance(layer, layers.ConvexResidual):
        layer.logit.assign(0.7)
    frozen = models.freezing.freeze_encoder(model)
    exact = np.linalg.norm(jacobian(frozen, shape), 2)
    bound = lipschitz_bound(model)
    assert isinstance(bound, float)
    assert bound >= exact * (1 - 1e-12)
    if not isinstance(layer, layers.ConvexResidual):
        assert bound <= exact + 1e-9


def test_convex_residual_weighs_its_parts():
    layer = layers.ConvexResidual(layers.Standardization(0.0, 0.25), layers.OrthogonalDense(3))
    model = _sequential(layer, shape=(3,))
    layer.logit.assign(np.log(3.0))
    assert 3.25 <= lipschitz_bound(model) <= 3.25 + 1e-6


def test_product_over_layers():
    model = _sequential(
        layers.Standardization(0.5, 0.2), layers.OrthogonalConv2D(2, 3), layers.GroupSort()
    )
    assert 5.0 <= lipschitz_bound(model) <= 5.0 + 1e-9


def test_functional_graph_with_branches():
    images = keras.Input((4, 4, 2))
    twice = layers.Standardization(0.0, 0.5)(images)
    both = keras.layers.Concatenate()([images, twice])
    total = keras.layers.Add()([both, both])
    model = keras.Model(images, total)
    exact = np.linalg.norm(jacobian(model, (4, 4, 2)), 2)
    assert exact <= lipschitz_bound(model) <= exact + 1e-5
    assert 2 * np.sqrt(5) <= lipschitz_bound(model) <= 2 * np.sqrt(5) * (1 + 1e-12)


def test_addition_of_unequal_shapes_is_refused():
    images = keras.Input((4, 4, 2))
    column = keras.layers.Reshape((1, 1, 32))(images)
    wide = keras.layers.Reshape((1, 32, 1))(images)
    model = keras.Model(images, keras.layers.Add()([column, wide]))
    with pytest.raises(ValueError, match="combines inputs of different"):
        lipschitz_bound(model)


@pytest.mark.parametrize("axis", [0, -2])
def test_concatenation_along_the_batch_is_refused(axis):
    images = keras.Input((4,))
    model = keras.Model(images, keras.layers.Concatenate(axis=axis)([images, images]))
    with pytest.raises(ValueError, match=f"axis={axis}"):
        lipschitz_bound(model)


def test_addition_of_unknown_shapes_is_refused():
    images = keras.Input((None,))
    twice = keras.layers.Concatenate()([images, images])
    with pytest.raises(ValueError, match="unknown shapes"):
        lipschitz_bound(keras.Model(images, keras.layers.Add()([twice, images])))


@pytest.mark.parametrize(
    ("layer", "built_on", "called_on"),
    [
        (layers.OrthogonalConv2D(1, 3), (4, 4, 1), (4, 1, 1)),
        (layers.SpectralConv2D(1), (4, 4, 1), (4, 1, 1)),
        (layers.Standardization([0.0, 0.0, 0.0], 1.0), (4, 3), (12, 1)),
        (
            layers.ConvexResidual(keras.layers.Reshape((4, 1)), keras.layers.Identity()),
            (4, 1),
            (1, 4),
        ),
    ],
)
def test_layer_cannot_be_used_at_a_shape_that_its_bound_is_not_for(layer, built_on, called_on):
    layer(np.zeros((1, *built_on), np.float32))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        layer(np.zeros((1, *called_on), np.float32))


def test_attribute_called_encoder_makes_no_encoder():
    model = _sequential(layers.Standardization(0.0, 0.01))
    model.encoder = keras.layers.Identity()
    assert lipschitz_bound(model) >= 100


def test_transform_that_overflows_is_refused():
    for layer, shape in (
        (layers.OrthogonalConv2D(4, 2, dtype="float64"), (2, 2, 2)),
        (layers.OrthogonalDense(5, dtype="float64"), (3,)),
    ):
        layer.build((None, *shape))
        layer.gain.assign(1e200)
        with pytest.raises(ValueError, match="overflows"):
            lipschitz_bound(layer)


@pytest.mark.parametrize("logit", [-1000.0, -37.0, 0.0, 37.0, 1000.0])
def test_convex_residual_of_extreme_weight(logit):
    parts = [layers.Standardization(0.0, 1e-6), layers.OrthogonalDense(3)]
    for branch, shortcut in (parts, parts[::-1]):
        layer = layers.ConvexResidual(branch, shortcut)
        model = _sequential(layer, shape=(3,))
        layer.logit.assign(logit)
        exact = np.linalg.norm(jacobian(models.freezing.freeze_encoder(model), (3,)), 2)
        assert exact * (1 - 1e-12) <= lipschitz_bound(model) <= exact * (1 + 1e-6) + 1e-6


def test_shared_layer_counts_at_every_use():
    images = keras.Input((3,))
    layer = layers.Standardization(0.0, 0.5)
    assert 4 <= lipschitz_bound(keras.Model(images, layer(layer(images)))) <= 4 + 1e-12


def test_whole_encoder_never_stretches_a_pair_of_images_beyond_its_bound():
    model = models.resnet18(orthogonal_layers=9, width=4, input_shape=(16, 16, 3))
    encoder = model.freeze_encoder()
    bound = lipschitz_bound(model)
    assert bound == lipschitz_bound(model.encoder)
    assert bound == pytest.approx(lipschitz_bound(encoder), abs=1e-11)
    assert 1 <= bound <= 1 + 1e-9
    left = np.random.default_rng(0).uniform(size=(64, 16, 16, 3))
    step = np.random.default_rng(1).normal(size=left.shape)
    right = left + step * 10.0 ** -np.arange(64).reshape(-1, 1, 1, 1).clip(max=6)
    moved = encoder(right).numpy() - encoder(left).numpy()
    ratio = np.linalg.norm(moved.reshape(64, -1), axis=1) / np.linalg.norm(
        (right - left).astype(np.float32).reshape(64, -1), axis=1
    )
    # The images reach the encoder as float32, which blurs the smallest steps.
    assert ratio.max() <= bound * (1 + 1e-3)
    assert ratio.max() > 0.1


def test_standard_deviation_is_counted():
    mean, std = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
    model = _sequential(layers.Standardization(mean, std), shape=(4, 4, 3))
    assert lipschitz_bound(model) >= 1 / 0.2435


def test_unbuilt_layer_is_built_by_its_input_shape():
    assert lipschitz_bound(layers.OrthogonalDense(3), (None, 4)) >= 1
    with pytest.raises(ValueError, match="input_shape"):
        lipschitz_bound(layers.OrthogonalDense(3))


def test_unknown_layer_is_refused_by_name():
    model = _sequential(keras.layers.LayerNormalization(name="culprit"))
    with pytest.raises(ValueError, match=r"culprit.*LayerNormalization"):
        lipschitz_bound(model)
    images = keras.Input((3,))
    with pytest.raises(ValueError, match="Multiply"):
        lipschitz_bound(keras.Model(images, images * 7.0))
    with pytest.raises(ValueError, match="Keras layer or model is needed"):
        lipschitz_bound(lambda x: x)


def test_subclass_is_refused_by_name():
    class Amplified(layers.GroupSort):
        def call(self, inputs):
            return 10 * super().call(inputs)

    with pytest.raises(ValueError, match="Amplified"):
        lipschitz_bound(_sequential(Amplified(2)))

    class AmplifiedModel(keras.Sequential):
        def call(self, inputs):
            return 10 * inputs

    model = AmplifiedModel([keras.Input((3,)), keras.layers.Identity()])
    with pytest.raises(ValueError, match="AmplifiedModel"):
        lipschitz_bound(model)


def test_layer_called_with_extra_arguments_is_refused():
    images = keras.Input((3,))
    model = keras.Model(images, keras.layers.Dropout(0.5)(images, training=True))
    with pytest.raises(ValueError, match="training"):
        lipschitz_bound(model)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    model = _sequential(layers.OrthogonalConv2D(2, 3, name="culprit"))
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel).copy()
    kernel[0, 0, 0, 0] = value
    model.layers[0].kernel.assign(kernel)
    with pytest.raises(ValueError, match="culprit"):
        lipschitz_bound(model)


def test_spectrum_that_is_not_orthogonal_gets_its_real_norm():
    layer = layers.SpectralConv2D(2, dtype="float64")
    layer.build((None, 4, 4, 2))
    layer.spectrum.assign(tf.random.normal(layer.spectrum.shape, dtype=tf.float64))
    stacked = keras.ops.convert_to_numpy(layer.spectrum)
    matrices = stacked[..., :2, :] + 1j * stacked[..., 2:, :]
    assert lipschitz_bound(layer) >= np.linalg.norm(matrices, 2, axis=(-2, -1)).max()


def test_is_public():
    assert lsrs_tf.lipschitz_bound is lipschitz_bound


def test_model_inside_at_another_number_of_channels_is_refused():
    # Keras lets a model for 3 channels take images of 1, and repeats them on the way.
    inner = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Rescaling([4.0, 5.0, 4.5]),
            keras.layers.Conv2D(4, 3, padding="same"),
        ]
    )
    model = keras.Sequential([keras.Input((6, 6, 1)), inner])
    for encoder in (model, models.freezing.freeze_encoder(model)):
        with pytest.raises(ValueError, match="built for inputs of shape"):
            lipschitz_bound(encoder)


def test_shared_slopes_that_repeat_a_smaller_input_are_refused():
    images = keras.Input((4, 4, 1))
    slopes = keras.layers.PReLU(alpha_initializer="ones", name="culprit")
    values = slopes(keras.layers.GlobalMaxPooling2D(keepdims=True)(slopes(images)))
    values = keras.layers.Conv2D(1, 3, padding="same", use_bias=False)(values)
    model = keras.Model(images, keras.layers.GlobalMaxPooling2D()(values))
    for encoder in (model, models.freezing.freeze_encoder(model)):
        with pytest.raises(ValueError, match="culprit"):
            lipschitz_bound(encoder)


def test_scale_of_channels_under_channels_first_is_refused():
    model = _sequential(keras.layers.Rescaling([1.0, 1.0, 1.0], name="culprit"), shape=(1, 4, 3))
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="culprit"):
            lipschitz_bound(model)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LeakyReLU(negative_slope=float("nan"), name="culprit"),
        keras.layers.ReLU(negative_slope=float("nan"), name="culprit"),
        keras.layers.ReLU(max_value=float("nan"), name="culprit"),
        keras.layers.ELU(alpha=float("nan"), name="culprit"),
    ],
)
def test_slopes_that_are_no_numbers_are_refused(layer):
    with pytest.raises(ValueError, match="culprit.*finite"):
        lipschitz_bound(_sequential(layer))


def test_layer_with_a_call_of_its_own_is_refused():
    model = _sequential(keras.layers.Dense(2, name="culprit"))
    model.layers[0].call = lambda inputs: 7 * inputs
    with pytest.raises(ValueError, match="culprit"):
        lipschitz_bound(model)
    with pytest.raises(ValueError, match="culprit"):
        models.freezing.freeze_encoder(model)


def test_ill_conditioned_transform_is_not_evaluated_anew(monkeypatch):
    layer = layers.OrthogonalConv2D(3, 3, name="culprit")
    layer.build((None, 4, 5, 4))
    monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    assert 1 <= lipschitz_bound(layer) <= 1 + 1e-9
    layer.gain.assign(1e8)
    with pytest.raises(ValueError, match="culprit.*ill-conditioned"):
        lipschitz_bound(layer)


def test_input_shape_without_the_batch_is_refused():
    for layer in (keras.layers.Conv2D(4, 3, padding="same"), keras.layers.MaxPooling2D(3, 2)):
        layer.build((None, 8, 8, 3))
        with pytest.raises(ValueError):
            lipschitz_bound(layer, (8, 8, 3))
    with pytest.raises(ValueError, match="batch dimension"):
        lipschitz_bound(keras.layers.Dense(4), 8)


def test_input_shape_that_is_not_the_models_is_refused():
    model = _sequential(keras.layers.Conv2D(4, 3), shape=(8, 8, 3))
    with pytest.raises(ValueError, match="built for inputs of shape"):
        lipschitz_bound(model, (None, 6, 6, 3))
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.ReLU()(images))
    assert lipschitz_bound(model, (None, 6, 6, 3)) == lipschitz_bound(model) == 1.0


def test_layers_of_training_are_taken_in_functional_models():
    images = keras.Input((4, 4, 3))
    values = keras.layers.Dropout(0.5)(images)
    values = keras.layers.SpatialDropout2D(0.5)(keras.layers.GaussianNoise(0.1)(values))
    model = keras.Model(images, keras.layers.GaussianDropout(0.5)(values))
    assert lipschitz_bound(model) == 1.0
    assert lipschitz_bound(models.freezing.freeze_encoder(model)) == 1.0


def test_advice_fits_what_was_received():
    class Mine(keras.layers.ReLU):
        pass

    class Model(keras.Model):
        def call(self, inputs):
            return inputs

    for layer, advice in (
        (Mine(), "subclass of ReLU"),
        (keras.layers.LayerNormalization(), "into a head that is smoothed"),
    ):
        with pytest.raises(ValueError, match=advice):
            lipschitz_bound(_sequential(layer))
    model = Model()
    model(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="functional API"):
        lipschitz_bound(model, (None, 3))


def test_unknown_layers_are_told_what_is_similar_not_all_there_is():
    class Convo2D(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    encoder = keras.Sequential([keras.Input((4, 4, 1)), Convo2D()])
    with pytest.raises(ValueError, match="names: Conv2D") as refused:
        lipschitz_bound(encoder)
    assert len(str(refused.value)) < 400
