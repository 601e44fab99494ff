"""The kinds of noise by name."""

from lsrs_tf.sampling.exact_noise import ExactNoise
from lsrs_tf.sampling.float32_noise import Float32Noise

NOISE_MODELS = {"float32": Float32Noise, "exact": ExactNoise}


def noise_model(name):
    """Returns the class of a kind of noise, or raises if there is none of that name."""
    if not isinstance(name, str) or name not in NOISE_MODELS:
        raise ValueError(f"`noise` must be one of {', '.join(NOISE_MODELS)}. Received: {name!r}")
    return NOISE_MODELS[name]
