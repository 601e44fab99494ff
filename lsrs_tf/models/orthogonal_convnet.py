from collections.abc import Sequence

import keras

from lsrs_tf import layers
from lsrs_tf.models import blocks
from lsrs_tf.models.latent_smoothing import LatentSmoothingModel

_STAGES = 3


def orthogonal_convnet(
    width: int = 32,
    depth: int = 2,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    sigma: float = 0.0,
    parametrization: str = "cayley",
    head_units: Sequence[int] | None = None,
) -> LatentSmoothingModel:
    """Returns a classifier of orthogonal layers throughout, to be certified by its margins.

    Three stages of `depth` convolutions with MaxMin, of 3 x 3 pixels where the image is as large;
    the first of each halves height and width and doubles the channels. The head flattens, and has
    one hidden and one last layer, both orthogonal. Where no layer has fewer outputs than inputs,
    small changes keep their size up to the head: nothing is lost to a constant below 1.

    With `head_units` the encoder is the same, and the head is one of layers without constraints, to
    be certified by noise in the latent.

    Sources: Trockman and Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform"
    (2021), for the layers; Anil, Lucas and Grosse, "Sorting out Lipschitz function approximation"
    (2019), for MaxMin.

    Args:
        width: int, channels of the first stage, an even number.
        depth: int, convolutions of each stage, at least 1.
        num_classes: int.
        input_shape: image shape `(height, width, channels)`; height and width divisible by 8.
        sigma: float, standard deviation of noise in the latent; 0 for margins.
        parametrization: str, the kind of the convolutions, see `layers.convolution`.
        head_units: ints, hidden layers of a dense head without constraints; `()` for a linear one.
            None for the orthogonal head.

    Returns:
        A built, uncompiled `LatentSmoothingModel`.

    Examples:
        >>> model = models.orthogonal_convnet(width=4, depth=1, input_shape=(8, 8, 1))
        >>> model.encoder.output_shape
        (None, 1, 1, 16)
    """
    convolution = layers.convolution(parametrization)
    values = images = keras.Input(input_shape, name="images")
    values = layers.Standardization(mean=0.5, std=1.0, name="centring")(values)
    for stage in range(_STAGES):
        # No kernel is larger than the image that it convolves.
        size = min(3, *(pixels // 2 ** (stage + 1) for pixels in input_shape[:2]))
        for index in range(depth):
            name, strides = f"stage{stage + 1}_conv{index + 1}", 2 if index == 0 else 1
            values = convolution(width * 2**stage, size, strides=strides, name=name)(values)
            values = layers.GroupSort(2, name=f"{name}_sort")(values)
    encoder = keras.Model(images, values, name="encoder")
    latents = keras.Input(encoder.output_shape[1:], name="latents")
    if head_units is None:
        logits = _orthogonal_head(latents, width, num_classes)
    else:
        logits = blocks.dense_classifier(latents, head_units, num_classes)
    head = keras.Model(latents, logits, name="head")
    return LatentSmoothingModel(encoder, head, sigma, name="orthogonal_convnet")


def _orthogonal_head(latents, width, num_classes):
    values = keras.layers.Flatten(name="flatten")(latents)
    values = layers.OrthogonalDense(8 * width, name="hidden")(values)
    values = layers.GroupSort(2, name="hidden_sort")(values)
    # Logits stay float32 under mixed precision.
    return layers.OrthogonalDense(num_classes, dtype="float32", name="logits")(values)
