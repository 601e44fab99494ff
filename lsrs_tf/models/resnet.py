"""Residual networks whose first layers are an orthogonal encoder (LS-RS paper, figure 3).

Layers are counted as in the paper: the convolutions of the stem and two per residual block; the
shortcuts are not counted. `orthogonal_layers=0` leaves the encoder empty: the whole network is the
head, and smoothing takes place in input space.
"""

import keras

from lsrs_tf import layers
from lsrs_tf.models import blocks
from lsrs_tf.models.latent_smoothing import LatentSmoothingModel


def resnet18(
    orthogonal_layers: int = 9,
    num_classes: int = 10,
    width: int = 64,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    sigma: float = 0.25,
    parametrization: str = "cayley",
) -> LatentSmoothingModel:
    """Returns a ResNet18 for small images, with its first layers orthogonal.

    Args:
        orthogonal_layers: int, 0 or 1 + 2 * blocks for 0 to 8 blocks. The paper's table 2 has 0, 1,
            5, 9 and 13. At 9 the latent of a 32 x 32 image is 16 x 16 x 128.
        num_classes: int.
        width: int, even, channels of the first stage; later stages have 2, 4 and 8 times as many.
        input_shape: image shape `(height, width, channels)`, height and width divisible by 8.
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the encoder's convolutions, see `layers.convolution`.

    Returns:
        A built, uncompiled `LatentSmoothingModel`.

    Examples:
        >>> model = models.resnet18(orthogonal_layers=5, width=4)
        >>> model.encoder.output_shape, model.head.output_shape
        ((None, 32, 32, 4), (None, 10))
    """
    stem = [_Conv(width, strides=1)]
    stages = [(width, 2, 1), (2 * width, 2, 2), (4 * width, 2, 2), (8 * width, 2, 2)]
    return _residual_network(
        "resnet18",
        stem,
        stages,
        orthogonal_layers,
        num_classes,
        input_shape,
        sigma,
        parametrization,
    )


def wide_resnet34(
    orthogonal_layers: int = 16,
    widen_factor: int = 2,
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    sigma: float = 0.25,
    parametrization: str = "cayley",
) -> LatentSmoothingModel:
    """Returns a WideResNet34 for large images, with its first layers orthogonal.

    The stem is two convolutions of stride 2, because a max pooling with overlap would not be
    1-Lipschitz.

    Args:
        orthogonal_layers: int, 0 or 1, or 2 + 2 * blocks for 0 to 16 blocks. The paper's table 3
            has 0 and 16: the stem and seven blocks, a latent of 28 x 28 x 256 for 224 x 224 pixels.
        widen_factor: int, the channels of the stages are 64, 128, 256, 512 times this.
        num_classes: int.
        input_shape: image shape `(height, width, channels)`, height and width divisible by 32.
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the encoder's convolutions, see `layers.convolution`.

    Returns:
        A built, uncompiled `LatentSmoothingModel`.

    Examples:
        >>> model = models.wide_resnet34(orthogonal_layers=0, input_shape=(32, 32, 3))
        >>> model.encoder.output_shape, model.head.output_shape
        ((None, 32, 32, 3), (None, 1000))
    """
    width = 64 * widen_factor
    stem = [_Conv(64, strides=2), _Conv(width, strides=2)]
    stages = [(width, 3, 1), (2 * width, 4, 2), (4 * width, 6, 2), (8 * width, 3, 2)]
    return _residual_network(
        "wide_resnet34",
        stem,
        stages,
        orthogonal_layers,
        num_classes,
        input_shape,
        sigma,
        parametrization,
    )


class _Conv:
    """A convolution of the stem."""

    depth = 1

    def __init__(self, filters, strides):
        self.filters = filters
        self.strides = strides

    def orthogonal(self, inputs, parametrization, name):
        return blocks.orthogonal_conv(inputs, self.filters, 3, self.strides, parametrization, name)

    def plain(self, inputs, name):
        return blocks.plain_conv(inputs, self.filters, 3, self.strides, name)


class _Block(_Conv):
    """A residual block."""

    depth = 2

    def orthogonal(self, inputs, parametrization, name):
        return blocks.orthogonal_block(inputs, self.filters, self.strides, parametrization, name)

    def plain(self, inputs, name):
        return blocks.plain_block(inputs, self.filters, self.strides, name)


def _residual_network(
    name, stem, stages, orthogonal_layers, num_classes, input_shape, sigma, parametrization
):
    steps = [(f"conv{index + 1}", conv) for index, conv in enumerate(stem)]
    for stage, (filters, count, strides) in enumerate(stages):
        steps += [
            (f"stage{stage + 1}_block{index + 1}", _Block(filters, strides if index == 0 else 1))
            for index in range(count)
        ]
    cut = _steps_for(orthogonal_layers, [step.depth for _, step in steps], name)
    if cut == 0:
        encoder = blocks.identity_encoder(input_shape)
        latents = keras.Input(encoder.output_shape[1:], name="latents")
        values = layers.Standardization(mean=0.5, std=0.25, name="standardization")(latents)
    else:
        images = keras.Input(input_shape, name="images")
        # Centring only: dividing by a standard deviation would cost its inverse in radius.
        values = layers.Standardization(mean=0.5, std=1.0, name="centring")(images)
        for step_name, step in steps[:cut]:
            values = step.orthogonal(values, parametrization, step_name)
        encoder = keras.Model(images, values, name="encoder")
        latents = values = keras.Input(encoder.output_shape[1:], name="latents")
    for step_name, step in steps[cut:]:
        values = step.plain(values, step_name)
    head = keras.Model(latents, blocks.classifier(values, num_classes), name="head")
    return LatentSmoothingModel(encoder, head, sigma, name=name)


def _steps_for(orthogonal_layers, depths, name):
    total, choices = 0, {0: 0}
    for index, depth in enumerate(depths):
        total += depth
        choices[total] = index + 1
    if orthogonal_layers not in choices:
        raise ValueError(
            f"A {name} can be cut only between its blocks: `orthogonal_layers` must be one of "
            f"{sorted(choices)}. Received: orthogonal_layers={orthogonal_layers!r}"
        )
    return choices[orthogonal_layers]
