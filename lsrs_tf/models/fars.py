"""Classifiers on a 1-Lipschitz backbone of SDP-based layers (FaRS)."""

from collections.abc import Sequence

import keras

from lsrs_tf import layers
from lsrs_tf.models.latent_smoothing import LatentSmoothingModel
from lsrs_tf.number_kinds import is_whole_number

# Pixels along each side that the convolutions of the small network see.
_TINY_SIZE = 16


def fars(
    width: int,
    depth: int,
    dense_depth: int,
    dense_width: int,
    inner: int = 5,
    strides: int = 1,
    pool_size: int = 4,
    embedding: int | None = None,
    head_units: Sequence[int] = (),
    orthogonal_head: bool = False,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    sigma: float = 0.25,
    parametrization: str = "cayley",
    name: str = "fars",
) -> LatentSmoothingModel:
    """Returns a classifier with a backbone of SDP-based Lipschitz layers (SLL) as its encoder.

    Source: FaRS report, sections 2.1 and 2.2; Araujo et al. (2023) for the backbone. The encoder is
    centring, an entry convolution, `depth` residual convolutions, two poolings of the norm 1,
    `dense_depth` dense residual layers, and a linear embedding with orthonormal rows. Its Lipschitz
    constant is 1. With no `head_units` the head is one dense layer, so that margins of its logits
    give deterministic radii; with some, votes have to be sampled.

    Args:
        width: int, channels of the convolutions; at least those that the entry makes of the image
            keep all of it.
        depth: int, number of residual convolutions.
        dense_depth: int, number of dense residual layers.
        dense_width: int, values inside each of these.
        inner: int, channels inside a residual convolution, in multiples of the width.
        strides: int, of the entry convolution.
        pool_size: int, height and width of the windows of each of the two poolings.
        embedding: int, size of the embedding, or None for none.
        head_units: ints, hidden layers of the head, each with a ReLU.
        orthogonal_head: bool, whether the last layer has orthonormal rows, as losses with an offset
            need: margins are then distances in the latent, times sqrt(2).
        num_classes: int.
        input_shape: image shape `(height, width, channels)`; strides and both poolings together
            must divide the height and width.
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the entry convolution, see `layers.convolution`.
        name: str, the name of the model.

    Returns:
        A built, uncompiled `LatentSmoothingModel`.

    Raises:
        ValueError: if a size is invalid, or does not divide the image.

    Examples:
        >>> model = fars(8, depth=2, dense_depth=1, dense_width=16, pool_size=2)
        >>> model.encoder.output_shape
        (None, 512)
    """
    for argument, value in (("depth", depth), ("dense_depth", dense_depth)):
        if not (is_whole_number(value) and value >= 0):
            raise ValueError(
                f"`{argument}` of a {name} must be a whole number of layers, 0 or more. "
                f"Received: {argument}={value!r}"
            )
    images = keras.Input(input_shape, name="images")
    values = layers.Standardization(mean=0.5, std=1.0, name="centring")(images)
    entry = layers.convolution(parametrization)
    values = entry(width, 3, strides=strides, name="entry")(values)
    for index in range(depth):
        values = layers.SDPLipschitzConv2D(
            width, 3, hidden_filters=inner * width, name=f"conv{index + 1}"
        )(values)
    for index in range(2):
        values = layers.ScaledAveragePooling2D(pool_size, name=f"pool{index + 1}")(values)
    values = keras.layers.Flatten(name="flatten")(values)
    for index in range(dense_depth):
        values = layers.SDPLipschitzDense(
            values.shape[-1], hidden_units=dense_width, name=f"dense{index + 1}"
        )(values)
    if embedding is not None:
        values = layers.OrthogonalDense(embedding, name="embedding")(values)
    encoder = keras.Model(images, values, name="encoder")
    return LatentSmoothingModel(
        encoder,
        _head(encoder.output_shape[1:], head_units, num_classes, orthogonal_head),
        sigma,
        name=name,
    )


def _head(latent_shape, head_units, num_classes, orthogonal):
    latents = values = keras.Input(latent_shape, name="latents")
    for index, units in enumerate(head_units):
        values = keras.layers.Dense(units, activation="relu", name=f"hidden{index + 1}")(values)
    # Logits stay float32 under mixed precision.
    last = layers.OrthogonalDense if orthogonal else keras.layers.Dense
    logits = last(num_classes, dtype="float32", name="logits")(values)
    return keras.Model(latents, logits, name="head")


def fars_small(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: int = 45,
    depth: int = 20,
    dense_depth: int = 7,
    head_units: Sequence[int] = (),
    orthogonal_head: bool = False,
    sigma: float = 0.25,
    parametrization: str = "cayley",
) -> LatentSmoothingModel:
    """Returns the published network of FaRS, for 224 x 224 pixels.

    20 residual convolutions of 45 channels with 225 inside, two poolings of 4, 7 dense residual
    layers of 8,820 values with 1,024 inside, an embedding of 768, and one dense layer. The authors
    add channels of zeros at the entry; here it is a convolution that keeps all norms. To train it
    is work for a GPU.

    Args:
        num_classes: int.
        input_shape: image shape `(height, width, channels)`, height and width divisible by 16.
        width: int, channels of the convolutions.
        depth: int, number of residual convolutions.
        dense_depth: int, number of dense residual layers.
        head_units: ints, hidden layers of the head, each with a ReLU.
        orthogonal_head: bool, whether the last layer has orthonormal rows, as losses with an offset
            need: margins are then distances in the latent, times sqrt(2).
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the entry convolution, see `layers.convolution`.

    Returns:
        A built, uncompiled `LatentSmoothingModel`.

    Raises:
        ValueError: if a size is invalid, or does not divide the image.

    Examples:
        >>> model = models.fars_small(input_shape=(32, 32, 3), width=4, depth=1, dense_depth=0)
        >>> model.encoder.output_shape
        (None, 768)
    """
    return fars(
        width,
        depth,
        dense_depth,
        dense_width=1024,
        embedding=768,
        head_units=head_units,
        orthogonal_head=orthogonal_head,
        num_classes=num_classes,
        input_shape=input_shape,
        sigma=sigma,
        parametrization=parametrization,
        name="fars_small",
    )


def fars_tiny(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    width: int = 32,
    depth: int = 4,
    dense_depth: int = 2,
    head_units: Sequence[int] = (),
    orthogonal_head: bool = False,
    sigma: float = 0.25,
    parametrization: str = "cayley",
) -> LatentSmoothingModel:
    """Returns a network like `fars_small` that trains on two CPU cores, for 8, 32 or 64 pixels.

    The entry convolution has strides that leave 16 x 16 pixels, each pooling has windows of 2, and
    there is no embedding: the latent has 16 * width values, or 4 * width for 8 x 8 pixels.

    Args:
        num_classes: int.
        input_shape: image shape `(height, width, channels)`, height and width equal, a multiple of
            16, or 8.
        width: int, channels of the convolutions.
        depth: int, number of residual convolutions.
        dense_depth: int, number of dense residual layers.
        head_units: ints, hidden layers of the head, each with a ReLU.
        orthogonal_head: bool, whether the last layer has orthonormal rows, as losses with an offset
            need: margins are then distances in the latent, times sqrt(2).
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the entry convolution, see `layers.convolution`.

    Returns:
        A built, uncompiled `LatentSmoothingModel`.

    Raises:
        ValueError: if a size is invalid, or the image is of another size.

    Examples:
        >>> model = models.fars_tiny(width=6, depth=1, dense_depth=0)
        >>> model.encoder.output_shape
        (None, 96)
    """
    height = input_shape[0]
    if input_shape[1] != height or (height % _TINY_SIZE and height != _TINY_SIZE // 2):
        raise ValueError(
            f"A fars_tiny needs square images with sides of {_TINY_SIZE // 2} pixels, or a "
            f"multiple of {_TINY_SIZE}. Received: input_shape={tuple(input_shape)}"
        )
    return fars(
        width,
        depth,
        dense_depth,
        dense_width=256,
        inner=2,
        strides=max(1, height // _TINY_SIZE),
        pool_size=2,
        head_units=head_units,
        orthogonal_head=orthogonal_head,
        num_classes=num_classes,
        input_shape=input_shape,
        sigma=sigma,
        parametrization=parametrization,
        name="fars_tiny",
    )
