"""Networks whose encoder keeps the size of an image: as many numbers in the latent as pixels."""

import keras

from lsrs_tf import layers
from lsrs_tf.models import blocks
from lsrs_tf.models.latent_smoothing import LatentSmoothingModel


def compact_resnet(
    orthogonal_layers: int = 6,
    num_classes: int = 10,
    width: int = 64,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    sigma: float = 0.25,
    parametrization: str = "cayley",
    downsampling: int = 4,
    residual: str = "none",
    head: str = "resnet",
) -> LatentSmoothingModel:
    """Returns a network with a latent of exactly as many numbers as the image has.

    Invertible downsampling (space to depth) and orthogonal convolutions keep the number of values,
    so that image and noise keep their ratio, and noise is no more work to draw than in input space.
    With downsampling by 4 the latent of a 32 x 32 image is 8 x 8 x 48, with 8 it is 4 x 4 x 192;
    for 224 x 224 pixels 8 gives 28 x 28 x 192.

    The head sees latents of that size whatever the encoder is: `orthogonal_layers=0` leaves the
    downsampling only, which moves values around. That is input space smoothing with a head of the
    same cost, against which an encoder has to earn its place.

    Args:
        orthogonal_layers: int, the number of 3 x 3 convolutions of the encoder; even for
            `residual="convex"`.
        num_classes: int.
        width: int, size of the head. 'resnet' has a convolution and two stages of two residual
            blocks, of 4 and 8 times as many channels as this, as the last stages of `resnet18`;
            'dense' has two layers of this size.
        input_shape: image shape `(height, width, channels)`, height and width divisible by
            `downsampling`, and the number of channels after it even.
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the encoder's convolutions, see `layers.convolution`.
        downsampling: int, height and width of the blocks of pixels that become channels.
        residual: 'none' for a chain of convolutions with GroupSort between them, which begins near
            the identity (`layers.LipschitzConv2D.begin_near_identity`) and keeps small distances.
            'convex' for blocks of two with a convex residual, which shrink distances where branch
            and shortcut differ.
        head: 'resnet' or 'dense'.

    Returns:
        A built, uncompiled `LatentSmoothingModel`.

    Examples:
        >>> model = compact_resnet(orthogonal_layers=2, width=8, downsampling=8, head="dense")
        >>> model.encoder.output_shape
        (None, 4, 4, 192)
    """
    _check(orthogonal_layers, residual, head)
    images = keras.Input(input_shape, name="images")
    # Centring only: dividing by a standard deviation would cost its inverse in radius.
    values = layers.Standardization(mean=0.5, std=1.0, name="centring")(images)
    values = layers.InvertibleDownsampling(downsampling, name="downsampling")(values)
    channels = values.shape[-1]
    if residual == "convex":
        for index in range(orthogonal_layers // 2):
            values = blocks.orthogonal_block(
                values, channels, 1, parametrization, f"block{index + 1}"
            )
    else:
        for index in range(orthogonal_layers):
            values = blocks.orthogonal_conv(
                values, channels, 3, 1, parametrization, f"conv{index + 1}"
            )
    encoder = keras.Model(images, values, name="encoder")
    if residual == "none":
        _begin_near_identity(encoder)
    latents = keras.Input(encoder.output_shape[1:], name="latents")
    logits = _HEADS[head](latents, width, num_classes)
    return LatentSmoothingModel(
        encoder, keras.Model(latents, logits, name="head"), sigma, name="compact_resnet"
    )


def _check(orthogonal_layers, residual, head):
    if residual not in ("none", "convex"):
        raise ValueError(f"`residual` must be 'none' or 'convex'. Received: residual={residual!r}")
    if head not in _HEADS:
        raise ValueError(f"`head` must be one of {', '.join(_HEADS)}. Received: head={head!r}")
    if orthogonal_layers < 0 or (residual == "convex" and orthogonal_layers % 2):
        raise ValueError(
            "A compact_resnet has 0, 1, 2, ... orthogonal layers; an even number for "
            "residual='convex', whose blocks have two. "
            f"Received: orthogonal_layers={orthogonal_layers!r}"
        )


def _begin_near_identity(encoder):
    for layer in encoder.layers:
        if isinstance(layer, layers.LipschitzConv2D):
            layer.begin_near_identity()


def _resnet_head(latents, width, num_classes):
    values = blocks.plain_conv(latents, 4 * width, 3, 1, "head_conv")
    for stage, (filters, strides) in enumerate([(4 * width, 1), (8 * width, 2)]):
        for index in range(2):
            name = f"stage{stage + 1}_block{index + 1}"
            values = blocks.plain_block(values, filters, strides if index == 0 else 1, name)
    return blocks.classifier(values, num_classes)


def _dense_head(latents, width, num_classes):
    return blocks.dense_classifier(latents, [width, width], num_classes)


_HEADS = {"resnet": _resnet_head, "dense": _dense_head}
