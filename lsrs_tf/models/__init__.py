"""Models that are smoothed in their latent space."""

from lsrs_tf.models.compact_resnet import compact_resnet
from lsrs_tf.models.convnet import convnet
from lsrs_tf.models.fars import fars, fars_small, fars_tiny
from lsrs_tf.models.latent_smoothing import LatentSmoothingModel
from lsrs_tf.models.orthogonal_convnet import orthogonal_convnet
from lsrs_tf.models.resnet import resnet18, wide_resnet34

__all__ = [
    "LatentSmoothingModel",
    "compact_resnet",
    "convnet",
    "fars",
    "fars_small",
    "fars_tiny",
    "orthogonal_convnet",
    "resnet18",
    "wide_resnet34",
]
