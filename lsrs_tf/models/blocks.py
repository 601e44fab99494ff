"""The building blocks of the bundled architectures: orthogonal for encoders, plain for heads."""

import keras

from lsrs_tf import layers


def identity_encoder(input_shape):
    """Returns the encoder of input space smoothing: the image itself is the latent."""
    images = keras.Input(input_shape, name="images")
    return keras.Model(images, keras.layers.Identity(name="identity")(images), name="encoder")


def orthogonal_conv(inputs, filters, kernel_size, strides, parametrization, name):
    """Applies a convolution of a parametrization of `layers.convolution`, and a GroupSort."""
    convolution = layers.convolution(parametrization)
    outputs = convolution(filters, kernel_size, strides=strides, name=name)(inputs)
    return layers.GroupSort(name=f"{name}_sort")(outputs)


def orthogonal_block(inputs, filters, strides, parametrization, name):
    """Applies an orthogonal basic block (LS-RS paper, figure 2b).

    Two orthogonal convolutions make the branch. The shortcut is the identity, or an orthogonal
    1 x 1 convolution where the shape changes.
    """
    convolution = layers.convolution(parametrization)
    shape = inputs.shape[1:]
    branch = keras.Sequential(
        [
            keras.Input(shape),
            convolution(filters, 3, strides=strides, name=f"{name}_conv1"),
            layers.GroupSort(name=f"{name}_sort1"),
            convolution(filters, 3, name=f"{name}_conv2"),
        ],
        name=f"{name}_branch",
    )
    shortcut = None
    if strides != 1 or shape[-1] != filters:
        shortcut = keras.Sequential(
            [
                keras.Input(shape),
                convolution(filters, 1, strides=strides, name=f"{name}_shortcut_conv"),
            ],
            name=f"{name}_shortcut",
        )
    # Branch and shortcut partly cancel: at weights of a half, every untrained block would shrink
    # the distance of two images, while the noise in the latent stays the same.
    residual = layers.ConvexResidual(branch, shortcut, initial_branch_weight=0.2, name=name)
    outputs = residual(inputs)
    return layers.GroupSort(name=f"{name}_sort2")(outputs)


def plain_conv(inputs, filters, kernel_size, strides, name):
    """Applies a convolution, batch normalization and ReLU."""
    outputs = _normalized_conv(inputs, filters, kernel_size, strides, name)
    return keras.layers.ReLU(name=f"{name}_relu")(outputs)


def plain_block(inputs, filters, strides, name):
    """Applies the basic block of He et al., "Deep Residual Learning" (2015)."""
    outputs = plain_conv(inputs, filters, 3, strides, f"{name}_conv1")
    outputs = _normalized_conv(outputs, filters, 3, 1, f"{name}_conv2")
    shortcut = inputs
    if strides != 1 or inputs.shape[-1] != filters:
        shortcut = _normalized_conv(inputs, filters, 1, strides, f"{name}_shortcut")
    outputs = keras.layers.Add(name=f"{name}_add")([outputs, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(outputs)


def _normalized_conv(inputs, filters, kernel_size, strides, name):
    outputs = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(inputs)
    # Momentum .9, as in the published networks; Keras' .99 needs thousands of steps to settle.
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(outputs)


def classifier(inputs, num_classes):
    """Applies average pooling and a dense layer; logits stay float32 under mixed precision."""
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(inputs)
    return keras.layers.Dense(num_classes, dtype="float32", name="logits")(pooled)


def dense_classifier(inputs, units, num_classes):
    """Applies dense layers with batch normalization and ReLU, and one for the logits.

    Args:
        inputs: Keras tensor of any shape, which is flattened.
        units: ints, values of the hidden layers; none for a linear classifier.
        num_classes: int.
    """
    values = keras.layers.Flatten(name="flatten")(inputs)
    for index, size in enumerate(units):
        name = f"dense{index + 1}"
        values = keras.layers.Dense(size, use_bias=False, name=name)(values)
        values = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(
            values
        )
        values = keras.layers.ReLU(name=f"{name}_relu")(values)
    # Logits stay float32 under mixed precision.
    return keras.layers.Dense(num_classes, dtype="float32", name="logits")(values)
