"""Seconds of a certificate by margins, and of those that take samples, on one backbone.

    python -m experiments.benchmarks.margins

The networks are for images of 32 x 32 pixels, and untrained: weights do not matter for the time of
a fixed number of samples. fars_tiny with a linear head is for margins and for noise of the logits,
with a hidden layer for noise in the latent; orthogonal_convnet, whose head is two dense layers, is
for margins and for noise in the latent, or in the image in front of the whole network. Rounds go
through all of them in turn.
"""

import json

import keras
import numpy as np
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.measuring import interleaved_medians
from lsrs_tf import Certifier, models
from lsrs_tf.evaluation import markdown_table
from lsrs_tf.models.base_classifier import BaseClassifier

flags.DEFINE_integer(
    "fixed_samples", 100_000, "Noisy samples of a fixed certificate.", lower_bound=100
)
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)


def functions(samples):
    """Returns dict of names and functions that certify one image each, compiled before."""
    linear, hidden = models.fars_tiny(), models.fars_tiny(head_units=[128])
    convnet = models.orthogonal_convnet()
    certifiers = {
        "fars_tiny, margin": Certifier(linear, method="margin"),
        "fars_tiny, fixed, noise of the logits": Certifier(linear, n=samples, noise="logits"),
        "fars_tiny, fixed": Certifier(linear, n=samples),
        "fars_tiny, fixed, head of two layers": Certifier(hidden, n=samples),
        "orthogonal_convnet, margin": Certifier(convnet, method="margin"),
        "orthogonal_convnet, fixed": Certifier(convnet, sigma=0.25, n=samples),
        "orthogonal_convnet, fixed, noise in the image": Certifier(
            _without_encoder(convnet), n=samples
        ),
    }
    image = np.random.default_rng(0).uniform(size=(32, 32, 3)).astype(np.float32)
    for certifier in certifiers.values():
        certifier.warm_up()
    return {
        name: lambda certifier=certifier: certifier.certify(image)
        for name, certifier in certifiers.items()
    }


def _without_encoder(model):
    """Returns the same network behind noise in the image, its orthogonal kernels evaluated once."""
    images = keras.Input(model.encoder.input_shape[1:])
    encoder = keras.Sequential([images, keras.layers.Identity()])
    frozen = BaseClassifier(model).network
    # Its layers are those of float64; the passes of a head are customarily of float32.
    config = json.loads(json.dumps(frozen.get_config()).replace('"float64"', '"float32"'))
    head = keras.Model.from_config(config)
    head.set_weights(frozen.get_weights())
    return models.LatentSmoothingModel(encoder, head, sigma=0.25)


def table(medians):
    """Returns a Markdown table of median seconds, and of ratios to margins of the same network.

    Args:
        medians: dict of '<network>, <certificate>' to seconds.
    """
    rows = []
    for name, seconds in medians.items():
        network, _ = name.split(", ", 1)
        ratio = seconds / medians[f"{network}, margin"]
        rows.append([name, f"{seconds:.3g}", f"{ratio:,.0f}"])
    return markdown_table(["certificate", "seconds / image", "times margin"], rows)


def main(argv):
    """Prints the table."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    print(f"Fixed certificates take n = {flag.fixed_samples:,} samples.\n")
    print(table(interleaved_medians(functions(flag.fixed_samples), flag.rounds)))


if __name__ == "__main__":
    command_line.run(main)
