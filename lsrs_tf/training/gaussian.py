import keras
import tensorflow as tf

from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.training.objective import Objective


@keras.saving.register_keras_serializable("lsrs_tf")
class Gaussian(Objective):
    r"""The loss of images with one noise each: what `fit` minimizes without an objective.

    Source: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing"
    (2019); in the latent, LS-RS paper, section 2.1. For the encoder $g$, the head $h$ and the
    compiled loss $\ell$ it is

    $$\ell(h(g(x) + \delta), y), \qquad \delta \sim N(0, \sigma^2 I).$$

    It is the only objective for a model without noise (`sigma=0`) and for losses other than
    cross-entropy.

    Examples:
        >>> from lsrs_tf import models
        >>> model = models.convnet(width=2, num_classes=3)
        >>> model.compile("sgd", "sparse_categorical_crossentropy", objective=Gaussian())
    """

    def loss_and_logits(
        self,
        model: LatentSmoothingModel,
        images: tf.Tensor,
        labels: tf.Tensor,
        sample_weight: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the compiled loss of a batch, and logits; see `Objective`."""
        logits = model(images, training=True)
        loss = model.compute_loss(images, labels, logits, sample_weight, training=True)
        return loss, logits
