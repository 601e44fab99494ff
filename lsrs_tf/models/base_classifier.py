"""The base classifier, without noise: frozen in float64, with what is proven about its logits."""

import math

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.lipschitz import lipschitz_report
from lsrs_tf.models.freezing import freeze_encoder
from lsrs_tf.models.latent_smoothing import smoothed_parts
from lsrs_tf.models.row_groups import evaluated_in_groups, rows_together
from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF, product, round_up
from lsrs_tf.statistics.margin_scale import MarginScale

_ROOT_2 = round_up(math.sqrt(2))
# Added to norms of differences of weights: squares below it may have been lost.
_LOST_SQUARES = 2.0**-500
_NORMALIZED = ("softmax", "log_softmax", "sigmoid", "log_sigmoid", "hard_sigmoid", "tanh")


class BaseClassifier:
    """Encoder and head of a model in one float64 network, without noise.

    It is a snapshot: later training does not reach it. Images are evaluated in groups of a fixed
    size, so that the logits of an image are the same to the last bit whatever comes with it; see
    `lsrs_tf.models.row_groups`.

    The constant of the difference of two logits is the smaller of two bounds. sqrt(2) L, L being
    the constant of the network, always holds, because the rows of a difference have norm sqrt(2).
    Where the last layer is dense, ||w_i - w_j|| L' holds, L' being the constant of what lies before
    it and w_i the weights of class i: the cross-Lipschitz bound of Hein and Andriushchenko (2017),
    exact for the last layer.

    Two logits as computed are off by at most sqrt(2) E together, E being the bound of the rounding
    of the network (`LipschitzReport.rounding_error`), for every image with pixels in [0, 1]. The
    margin loses that twice: once for the image, and once for the changed image, whose class is to
    be the same *as computed*.

    Args:
        model: built `LatentSmoothingModel`; its sigma does not matter.

    Attributes:
        image_shape: tuple, (height, width, channels).
        num_classes: int.
        rows_together: int, images that are evaluated together.
        network: the frozen network, a functional Keras model of float64.
        lipschitz_report: the `LipschitzReport` of the network, from pixels to logits.
        margin_scale: `MarginScale`.

    Raises:
        ValueError: if a layer of encoder or head has no bound, or the head gives no logits.
    """

    def __init__(self, model):
        encoder, head = smoothed_parts(model)
        _check_head(head)
        encoder = freeze_encoder(encoder)
        head = _frozen_head(head, encoder.outputs[0].shape)
        self.network = keras.Model(encoder.inputs, head(encoder.outputs[0]), name="base_classifier")
        self.image_shape = tuple(self.network.inputs[0].shape[1:])
        logits_shape = tuple(self.network.outputs[0].shape[1:])
        if None in self.image_shape or len(logits_shape) != 1 or logits_shape[0] < 2:
            raise ValueError(
                "Margins need images of a known size and logits [batch, classes] of at least two "
                f"classes. Received: images {self.image_shape}, logits {logits_shape}."
            )
        (self.num_classes,) = logits_shape
        self.lipschitz_report = _report(self.network)
        error = self.lipschitz_report.rounding_error
        if not math.isfinite(error):
            raise ValueError(
                "The rounding of float64 cannot be bounded for this network, because its weights "
                "or values are too large. Load weights from before training diverged."
            )
        self.margin_scale = MarginScale(
            self._pair_bounds(encoder, head),
            loss=2 * _ROOT_2 * error * (1 + 1e-12),
            # Two images with pixels in [0, 1] are no further apart.
            largest_radius=math.sqrt(math.prod(self.image_shape)),
        )
        self.rows_together = rows_together(self._logits_of_group, self.image_shape)
        self._logits = tf.function(self.logits_in_graph, autograph=False).get_concrete_function(
            tf.TensorSpec([None, *self.image_shape], tf.float32)
        )

    def logits(self, image):
        """Returns the logits of one checked image [height, width, channels], float64 [classes]."""
        return self.batch_logits(np.asarray(image)[np.newaxis])[0]

    def batch_logits(self, images):
        """Returns the logits of checked images [batch, height, width, channels].

        Returns:
            float64 array [batch, classes]; each row is what `logits` gives, to the last bit.
        """
        return self._logits(tf.convert_to_tensor(images, tf.float32)).numpy()

    def logits_in_graph(self, images):
        """Returns the float64 logits [batch, classes] of images, a tensor [batch, *image_shape]."""
        images = tf.ensure_shape(images, [None, *self.image_shape])
        return evaluated_in_groups(
            self._logits_of_group, images, self.rows_together, self.num_classes
        )

    def _logits_of_group(self, images):
        return self.network(tf.cast(images, tf.float64), training=False)

    def _pair_bounds(self, encoder, head):
        """Returns the bounds of all differences of two logits, float64 [classes, classes]."""
        whole = product([_ROOT_2, self.lipschitz_report.bound])
        bounds = np.full((self.num_classes, self.num_classes), max(whole, _LOST_SQUARES))
        last = _last_dense_layer(head)
        if last is None:
            return bounds
        before = keras.Model(head.inputs, last.input)
        features = keras.Model(encoder.inputs, before(encoder.outputs[0]))
        constant = lipschitz_report(features).bound
        distances = distances_of_columns(last.kernel.numpy())
        return np.minimum(bounds, np.nextafter(distances * constant, np.inf))


def distances_of_columns(kernel):
    """Bounds the distances between the columns of a matrix from above.

    Args:
        kernel: float64 array [inputs, classes].

    Returns:
        float64 array [classes, classes], above 0 also for equal columns.
    """
    inputs, classes = kernel.shape
    # A number is the power of two next to it times one of about 1, so that squares do not overflow.
    scale = 2.0 ** np.ceil(np.log2(max(np.abs(kernel).max(), 2.0**-500)))
    scaled = kernel / scale
    squares = np.empty((classes, classes))
    for column in range(classes):
        squares[column] = np.square(scaled - scaled[:, column : column + 1]).sum(axis=0)
    # The differences, their squares, sums and the roots are rounded.
    relative = 1 + (inputs + 8) * UNIT_ROUNDOFF
    return (np.sqrt(squares) * relative + math.sqrt(inputs) * _LOST_SQUARES) * scale


def _report(network):
    try:
        return lipschitz_report(network)
    except ValueError as error:
        raise ValueError(
            f"{error} For method='margin' every layer of encoder and head needs a bound; with "
            "method='fixed' the head is free of any constraint."
        ) from error


def _frozen_head(head, latent_shape):
    try:
        return freeze_encoder(head, latent_shape)
    except ValueError as error:
        raise ValueError(
            f"{error} For method='margin' the head is frozen as the encoder is; with "
            "method='fixed' it is free of any constraint."
        ) from error


def _check_head(head):
    last = head
    while isinstance(last, keras.Model) and getattr(last, "layers", None):
        last = last.layers[-1]
    function = getattr(getattr(last, "activation", None), "__name__", "linear")
    if isinstance(last, keras.layers.Softmax) or function in _NORMALIZED:
        raise ValueError(
            f"The head ends with layer '{last.name}' ({type(last).__name__}, {function}), which "
            "squeezes the margins together. Margins of logits certify more: leave the activation "
            "out, and train with from_logits=True."
        )
    if last.compute_dtype in ("float16", "bfloat16"):
        raise ValueError(
            f"The head computes its logits in {last.compute_dtype}, whose classes may differ from "
            "those of the float64 copy that is certified. Give its last layer dtype='float32'."
        )


def _last_dense_layer(head):
    """Returns the dense layer that a frozen head ends with, or None if it ends otherwise."""
    outgoing = head.outputs[0]
    last = outgoing._keras_history.operation
    linear = type(last) is keras.layers.Dense and last.activation is keras.activations.linear
    if not (linear or type(last) is layers.FixedDense) or len(last._inbound_nodes) != 1:
        return None
    return last if len(last.input.shape) == 2 else None
