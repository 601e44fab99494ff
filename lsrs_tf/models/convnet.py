"""A small convolutional network for small images, such as scikit-learn's bundled digits."""

import keras

from lsrs_tf import layers
from lsrs_tf.models import blocks
from lsrs_tf.models.latent_smoothing import LatentSmoothingModel


def convnet(
    orthogonal_layers: int = 2,
    num_classes: int = 10,
    width: int = 16,
    input_shape: tuple[int, int, int] = (8, 8, 1),
    sigma: float = 0.25,
    parametrization: str = "cayley",
) -> LatentSmoothingModel:
    """Returns a network of four convolutions with its first ones orthogonal.

    Args:
        orthogonal_layers: int, 0 to 2. At 2 the latent of an 8 x 8 image is 4 x 4 x 2 * width.
        num_classes: int.
        width: int, channels of the first convolution, even.
        input_shape: image shape `(height, width, channels)`, height and width even.
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the encoder's convolutions, see `layers.convolution`.

    Returns:
        A built, uncompiled `LatentSmoothingModel`.

    Examples:
        >>> model = models.convnet(width=4, num_classes=3)
        >>> model.encoder.output_shape, model.head.output_shape
        ((None, 4, 4, 8), (None, 3))
    """
    convs = [(width, 1), (2 * width, 2), (4 * width, 1), (4 * width, 1)]
    if orthogonal_layers not in (0, 1, 2):
        raise ValueError(
            "A convnet has 0, 1 or 2 orthogonal layers. "
            f"Received: orthogonal_layers={orthogonal_layers!r}"
        )
    if orthogonal_layers == 0:
        encoder = blocks.identity_encoder(input_shape)
    else:
        images = keras.Input(input_shape, name="images")
        # Centring only: dividing by a standard deviation would cost its inverse in radius.
        values = layers.Standardization(mean=0.5, std=1.0, name="centring")(images)
        for index, (filters, strides) in enumerate(convs[:orthogonal_layers]):
            values = blocks.orthogonal_conv(
                values, filters, 3, strides, parametrization, f"conv{index + 1}"
            )
        encoder = keras.Model(images, values, name="encoder")
    latents = values = keras.Input(encoder.output_shape[1:], name="latents")
    for index, (filters, strides) in enumerate(convs[orthogonal_layers:], orthogonal_layers):
        values = blocks.plain_conv(values, filters, 3, strides, f"conv{index + 1}")
    # On images this small the place of a stroke matters: no average over places.
    values = keras.layers.Flatten(name="flatten")(values)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(values)
    head = keras.Model(latents, logits, name="head")
    return LatentSmoothingModel(encoder, head, sigma, name="convnet")
