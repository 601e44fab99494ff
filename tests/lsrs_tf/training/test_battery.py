"""What every objective has to pass. A new objective is a row of `CASES`."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, losses, models, training

CASES = {
    "gaussian": training.Gaussian,
    "consistency": lambda: training.Consistency(weight=5.0),
    "smooth_adv": lambda: training.SmoothAdv(
        keras.optimizers.schedules.PolynomialDecay(0.0, 4, 0.2), steps=2, noises=2
    ),
    "macer": lambda: training.MACER(weight=1.0, noises=4),
    "catrs": lambda: training.CATRS(radius=0.2, steps=2),
}
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 48)
IMAGES = RNG.uniform(0, 0.3, size=(48, 4, 4, 1)).astype(np.float32)
IMAGES[np.arange(48), LABELS] += 0.6


@pytest.fixture(params=CASES)
def objective(request):
    return CASES[request.param]()


def _model(objective, sigma=0.1, built=True, learning_rate=0.05, **arguments):
    encoder = keras.Sequential([layers.OrthogonalConv2D(2, 3), layers.GroupSort()])
    head = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, dtype="float32"),
        ]
    )
    model = models.LatentSmoothingModel(encoder, head, sigma)
    if built:
        model.build((None, 4, 4, 1))
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        objective=objective,
        **arguments,
    )
    if built:
        # Else the first step creates these variables, for which it is traced twice.
        model.optimizer.build(model.trainable_variables)
        model.compute_metrics(None, LABELS[:1], np.zeros([1, 3], np.float32))
        model.reset_metrics()
    return model


def _same_noise(*compared):
    for model in compared:
        model.noise.seed_generator.state.assign([3, 0])


def _fit(model, epochs=1, **arguments):
    return model.fit(
        IMAGES, LABELS, epochs=epochs, batch_size=16, verbose=0, shuffle=False, **arguments
    ).history


@pytest.mark.parametrize("objective", ["gaussian", "smooth_adv"], indirect=True)
def test_models_that_were_not_built_train(objective):
    model = _model(objective, built=False)
    assert not model.built
    history = _fit(model, 2)
    assert history["loss"][1] < history["loss"][0]


def test_training_lowers_the_loss_and_moves_every_weight(objective):
    model = _model(objective)
    before = [np.array(weight) for weight in model.trainable_weights]
    history = _fit(model, 12)
    assert np.isfinite(history["loss"]).all()
    assert history["accuracy"][-1] > 0.9
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.any(np.array(weight) != old), weight.path


def test_gradients_reach_every_weight(objective):
    model = _model(objective)
    model.optimizer.iterations.assign(4)
    with tf.GradientTape() as tape:
        loss, _ = objective.loss_and_logits(model, tf.constant(IMAGES), LABELS, None)
    for weight, gradient in zip(
        model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True
    ):
        assert gradient is not None and np.any(gradient), weight.path


def test_saved_trainings_go_on_as_if_they_had_not_stopped(objective, tmp_path):
    model = _model(objective)
    _fit(model)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.objective) is type(objective)
    assert loaded.objective.get_config() == objective.get_config()
    _same_noise(model, loaded)
    for left, right in zip(_fit(model).values(), _fit(loaded).values(), strict=True):
        assert left == pytest.approx(right, rel=1e-4)
    for left, right in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(objective, policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        history = _fit(_model(objective), 6)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert history["accuracy"][-1] > 0.7


def test_sample_weights_of_0_leave_images_out(objective):
    model = _model(objective)
    model.head.layers[1].trainable = False
    weights = np.array([1.0, 0.0] * 24)
    # The same model twice: to trace another one is most of what a step costs.
    variables = [*model.weights, *model.optimizer.variables]
    start, found = [np.array(variable) for variable in variables], []
    for labels in (LABELS, np.where(weights > 0, LABELS, 0)):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        _same_noise(model)
        model.train_on_batch(IMAGES, labels, sample_weight=weights)
        found.append([np.array(weight) for weight in model.trainable_weights])
    assert any(np.any(new != old) for new, old in zip(found[0], start, strict=False))
    for left, right in zip(*found, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)


def test_labels_may_be_columns(objective):
    model = _model(objective)
    assert np.isfinite(model.fit(IMAGES, LABELS[:, None], verbose=0).history["loss"]).all()


def test_regularization_is_added(objective):
    model = _model(objective)
    plain = _model(objective)
    plain.set_weights(model.get_weights())
    plain.head.layers[0].kernel_regularizer = None
    plain.head.layers[0].kernel.regularizer = None
    _same_noise(model, plain)
    given = (tf.constant(IMAGES), LABELS, None)
    regularized, unregularized = (
        float(objective.loss_and_logits(each, *given)[0]) for each in (model, plain)
    )
    kernel = model.head.layers[0].kernel
    assert regularized - unregularized == pytest.approx(0.01 * np.sum(np.square(kernel)), rel=1e-3)


def test_default_is_gaussian_bit_for_bit():
    histories, weights = [], []
    for objective in (None, training.Gaussian()):
        keras.utils.set_random_seed(7)
        model = _model(objective)
        histories.append(_fit(model, 3))
        weights.append(model.get_weights())
    assert histories[0] == histories[1]
    for left, right in zip(*weights, strict=True):
        np.testing.assert_array_equal(left, right)


def test_consistency_of_one_noise_and_no_weight_is_gaussian_step_by_step():
    found = []
    for objective in (training.Gaussian(), training.Consistency(0.0, 0.0, noises=1)):
        keras.utils.set_random_seed(7)
        model = _model(objective)
        steps = []
        for first in range(0, 48, 16):
            batch = slice(first, first + 16)
            logs = model.train_on_batch(IMAGES[batch], LABELS[batch], return_dict=True)
            steps.append([logs["loss"], *(np.array(w) for w in model.trainable_weights)])
        found.append(steps)
    for left, right in zip(*found, strict=True):
        for one, other in zip(left, right, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_encoder_runs_once_and_head_as_often_as_needed(objective, monkeypatch):
    model = _model(objective, run_eagerly=True)
    sizes = {"encoder": [], "head": []}
    for name, found in sizes.items():
        part = getattr(model, name)
        call = part.call
        monkeypatch.setattr(
            part,
            "call",
            lambda inputs, *args, call=call, found=found, **kwargs: (
                found.append(inputs.shape[0]) or call(inputs, *args, **kwargs)
            ),
        )
    model.train_on_batch(IMAGES[:8], LABELS[:8])
    noises = getattr(objective, "noises", 1)
    assert sizes["encoder"] == [8]
    assert {*sizes["head"]} == {8 * noises}


def test_labels_of_the_base_classifier_are_unchanged(objective):
    model, plain = _model(objective), _model(None)
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        model.predict(IMAGES, verbose=0), plain.predict(IMAGES, verbose=0)
    )


@pytest.mark.parametrize("name", [name for name in CASES if name != "gaussian"])
def test_models_without_noise_are_refused(name):
    with pytest.raises(ValueError, match=r"noisy latents.*`sigma` above 0.*Received: sigma=0"):
        _model(CASES[name](), sigma=0)


@pytest.mark.parametrize("name", [name for name in CASES if name != "gaussian"])
@pytest.mark.parametrize(
    "loss",
    [
        None,
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0),
        losses.MarginHinge(1.0),
    ],
)
def test_other_losses_are_refused(name, loss):
    model = _model(None)
    with pytest.raises(ValueError, match=r"made of cross-entropies.*training\.Gaussian\(\)"):
        model.compile("sgd", loss, objective=CASES[name]())


@pytest.mark.parametrize("wrong", ["consistency", training.Consistency, 3])
def test_what_is_no_objective_is_refused(wrong):
    with pytest.raises(ValueError, match=r"`objective` must be an object of lsrs_tf\.training"):
        _model(wrong)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: training.Consistency(-1.0), "weight"),
        (lambda: training.Consistency(entropy_weight=-1.0), "entropy_weight"),
        (lambda: training.Consistency(noises=0), "noises"),
        (lambda: training.Consistency(noises=1.5), "noises"),
        (lambda: training.Consistency(noises=True), "noises"),
        (lambda: training.SmoothAdv(0.0), "radius"),
        (lambda: training.SmoothAdv(steps=0), "steps"),
        (lambda: training.MACER(float("nan")), "weight"),
        (lambda: training.MACER(margin=0), "margin"),
        (lambda: training.MACER(inverse_temperature=0), "inverse_temperature"),
        (lambda: training.CATRS(-0.5), "weight"),
        (lambda: training.CATRS(radius=float("inf")), "radius"),
    ],
)
def test_impossible_arguments_are_refused(make, name):
    with pytest.raises(ValueError, match=f"Argument `{name}` of .* must be .*Received: {name}="):
        make()


def test_encoders_without_gradients_are_refused():
    encoder = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.OrthogonalConv2D(2, 3),
            keras.layers.Lambda(tf.round),
            keras.layers.Lambda(tf.stop_gradient),
        ]
    )
    head = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    model = models.LatentSmoothingModel(encoder, head, 0.1)
    model.build((None, 4, 4, 1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, objective=training.Consistency())
    with pytest.raises(ValueError, match="No gradient reaches the weights of the encoder"):
        model.fit(IMAGES, LABELS, verbose=0)
    # The head alone may be trained.
    encoder.trainable = False
    model.compile("sgd", loss, objective=training.Consistency())
    model.fit(IMAGES, LABELS, verbose=0)
