"""Models that train, and a short training, after which the constants of layers must still hold."""

import keras
import numpy as np
import tensorflow as tf


def compiled(model, learning_rate=0.1):
    """Returns a classifier, compiled as its users compile one."""
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def trained(layer, shape, steps=25):
    """Returns a layer after some steps of an optimizer towards random targets."""
    images = keras.random.normal((8, *shape))
    target = keras.random.normal(layer(images).shape)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(layer.trainable_weights)
    before = [weight.numpy() for weight in layer.trainable_weights]

    # A graph: the steps of eager execution are what tests of all layers would spend their time on.
    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((layer(images) - target) ** 2)
        optimizer.apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)

    for _ in range(steps):
        step()
    # A tall 1 x 1 matrix of one channel can only change its sign: nothing to train but the bias.
    assert any(
        np.abs(weight.numpy() - old).max() > 1e-3
        for weight, old in zip(layer.trainable_weights, before, strict=True)
    ), "training did nothing"
    return layer
