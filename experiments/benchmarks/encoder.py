"""Time of freezing and bounding an encoder, and of the latents of images alone and together.

    python -m experiments.benchmarks.encoder
    python -m experiments.benchmarks.encoder --network=wide_resnet34

Weights are untrained. `alone` is one image at a time, as for a single request; `together` is a
batch of `--waiting` images, as `lsrs_tf.certify` encodes them. `spectra` is the size of the weights
that the frozen encoder holds: of a network for large images, spectra are evaluated anew, which
takes minutes for the default rounds. Times are medians of one run; other work on the machine blurs
them, ratios less.
"""

import time

import numpy as np
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.measuring import interleaved_medians
from lsrs_tf import models
from lsrs_tf.evaluation import markdown_table
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

_NETWORKS = {
    "resnet18": lambda width: models.resnet18(width=width),
    "resnet18_224": lambda width: models.resnet18(width=width, input_shape=(224, 224, 3)),
    "wide_resnet34": lambda width: models.wide_resnet34(widen_factor=max(1, width // 32)),
}

flags.DEFINE_multi_enum("network", ["resnet18"], list(_NETWORKS), "Which; several times for more.")
flags.DEFINE_integer("encoder_width", 64, "Channels of the first stage.", lower_bound=2)
flags.DEFINE_integer("waiting", 16, "Images that are encoded together.", lower_bound=1)
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)


def encoder_row(name, width, waiting, rounds):
    """Returns the row of `encoder_table` of one network.

    Args:
        name: 'resnet18', 'resnet18_224' or 'wide_resnet34'.
        width: int, channels of the first stage.
        waiting: int, images that are encoded together.
        rounds: int.
    """
    model = _NETWORKS[name](width)
    start = time.perf_counter()
    classifier = SmoothedClassifier(model, batch_size=16)
    seconds = time.perf_counter() - start
    shape = (waiting, *classifier.image_shape)
    images = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    size = sum(weight.numpy().nbytes for weight in classifier.encoder.weights)
    medians = interleaved_medians(
        {
            "alone": lambda: classifier.encode(images[0]),
            "together": lambda: classifier.encode_each(list(images)),
        },
        rounds,
    )
    alone, together = medians["alone"], medians["together"] / waiting
    return [
        f"{name}, width {width}",
        f"{size / 1e6:.0f}",
        f"{seconds:.1f}",
        f"{1e3 * alone:.1f}",
        f"{1e3 * together:.1f}",
        f"{alone / together:.1f}",
    ]


def main(argv):
    """Measures and prints."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    heads = ["encoder", "spectra (MB)", "frozen and bounded (s)", "alone (ms)"]
    heads += [f"of {flag.waiting} together (ms/image)", "times as fast"]
    rows = [
        encoder_row(name, flag.encoder_width, flag.waiting, flag.rounds) for name in flag.network
    ]
    print(markdown_table(heads, rows))


if __name__ == "__main__":
    command_line.run(main)
