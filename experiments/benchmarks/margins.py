"""Seconds of a certificate by margins, and of those that take samples, on one backbone.

    python -m experiments.benchmarks.margins

The networks are untrained fars_tiny for images of 32 x 32 pixels: one with a linear head, for
margins and for noise of the logits, and one with a hidden layer, for noise in the latent. Weights
do not matter for the time of a fixed number of samples. Rounds go through all of them in turn.
"""

import numpy as np
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.measuring import interleaved_medians
from lsrs_tf import Certifier, models
from lsrs_tf.evaluation import markdown_table

flags.DEFINE_integer("samples", 100_000, "Noisy samples of a fixed certificate.", lower_bound=100)
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)


def functions(samples):
    """Returns dict of names and functions that certify one image each, compiled before."""
    linear, hidden = models.fars_tiny(), models.fars_tiny(head_units=[128])
    certifiers = {
        "margin": Certifier(linear, method="margin"),
        "fixed, noise of the logits": Certifier(linear, n=samples, noise="logits"),
        "fixed, linear head": Certifier(linear, n=samples),
        "fixed, head of two layers": Certifier(hidden, n=samples),
    }
    image = np.random.default_rng(0).uniform(size=(32, 32, 3)).astype(np.float32)
    for certifier in certifiers.values():
        certifier.warm_up()
    return {
        name: lambda certifier=certifier: certifier.certify(image)
        for name, certifier in certifiers.items()
    }


def table(medians):
    """Returns a Markdown table of median seconds, and of ratios to those of margins."""
    return markdown_table(
        ["certificate", "seconds / image", "times margin"],
        [
            [name, f"{seconds:.3g}", f"{seconds / medians['margin']:,.0f}"]
            for name, seconds in medians.items()
        ],
    )


def main(argv):
    """Prints the table."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    print(f"Fixed certificates take n = {flag.samples:,} samples.\n")
    print(table(interleaved_medians(functions(flag.samples), flag.rounds)))


if __name__ == "__main__":
    command_line.run(main)
