import textwrap

import pytest

from tests.commands import run_code

TWO_DEVICES = textwrap.dedent(
    """
    import os

    # Before TensorFlow looks for devices, which it does when it is first asked for them.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import keras, numpy as np, tensorflow as tf
    from lsrs_tf import layers, models, training

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    images = np.random.default_rng(0).uniform(size=(16, 4, 4, 1)).astype("float32")

    def trained(objective):
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential([keras.Input((4, 4, 1)), layers.OrthogonalConv2D(2, 3)])
        head = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(3, kernel_regularizer="l2")]
        )
        # Replicas draw different noise: so little that it does not matter.
        model = models.LatentSmoothingModel(encoder, head, 1e-6)
        model.build((None, 4, 4, 1))
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            objective=objective,
        )
        history = model.fit(
            images, np.arange(16) % 3, batch_size=16, epochs=3, shuffle=False, verbose=0
        )
        return [history.history["loss"], *map(np.array, model.trainable_weights)]

    # Noises of an image are alike here: the attack of CATRS begins where it has no direction.
    for objective in (
        training.Gaussian(),
        training.Consistency(),
        training.MACER(inverse_temperature=1.0, noises=2),
        training.SmoothAdv(steps=2),
        training.CATRS(weight=0.0),
    ):
        alone = trained(objective)
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            together = trained(objective)
        for left, right in zip(alone, together):
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)

    # What the first image of each replica gets in two steps: four noises of the normal law.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Identity()])
        head = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
        model = models.LatentSmoothingModel(encoder, head, 1.0)
    draw = tf.function(lambda: model(tf.zeros([64, 4, 4, 1]), training=True))
    drawn = [
        noise.numpy().ravel()
        for step in range(2)
        for noise in strategy.experimental_local_results(strategy.run(draw))
    ]
    correlations = np.corrcoef(drawn) - np.eye(4)
    assert np.abs(correlations).max() < 0.15, correlations
    np.testing.assert_allclose(np.std(drawn, axis=1), 1, atol=0.1)
    """
)


@pytest.mark.slow
def test_two_replicas_train_as_one_device():
    ended = run_code(TWO_DEVICES)
    assert ended.returncode == 0, ended.stderr
