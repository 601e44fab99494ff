"""Bounds of plain layers and the time that they take, compared with an eigenvalue solver.

    python -m experiments.benchmarks.bounds

Weights are random. `before` is `experiments.benchmarks.eigenvalue_bounds`: all eigenvalues of all
frequencies, and products of the norms of neighbours; `now` is `lsrs_tf.lipschitz_bound`. For times
of one thread set the environment variables OPENBLAS_NUM_THREADS=1 and OMP_NUM_THREADS=1. The
default cases take about ten minutes on one thread, nearly all of them for `before`.
"""

import time

import keras
import numpy as np
from absl import flags

import lsrs_tf
from experiments import command_line
from experiments.benchmarks.eigenvalue_bounds import bound_of_layers
from lsrs_tf.evaluation import markdown_table
from lsrs_tf.progress import progress

Layers = keras.layers

# Name: (shape of the images, layers).
CASES = {
    "conv 512, 7x7": ((7, 7, 512), lambda: [Layers.Conv2D(512, 3, padding="same")]),
    "conv 256-512, 14x14, strides 2": (
        (14, 14, 256),
        lambda: [Layers.Conv2D(512, 3, strides=2, padding="same")],
    ),
    "dense 25088-4096": ((25_088,), lambda: [Layers.Dense(4096)]),
    "conv 1024, 14x14": ((14, 14, 1024), lambda: [Layers.Conv2D(1024, 3, padding="same")]),
    "conv 64, 32x32": ((32, 32, 64), lambda: [Layers.Conv2D(64, 3, padding="same")]),
    "separable 32-64, 16x16": (
        (16, 16, 32),
        lambda: [Layers.SeparableConv2D(64, 3, padding="same")],
    ),
    "conv 32, normalization, 16x16": (
        (16, 16, 32),
        lambda: [Layers.Conv2D(32, 3, padding="same"), Layers.BatchNormalization()],
    ),
    "conv 32, normalization undoes scales": (
        (16, 16, 32),
        lambda: [Layers.Conv2D(32, 3, padding="same"), Layers.BatchNormalization()],
    ),
    "depthwise 32, pointwise 64, 16x16": (
        (16, 16, 32),
        lambda: [Layers.DepthwiseConv2D(3, padding="same"), Layers.Conv2D(64, 1)],
    ),
}

flags.DEFINE_multi_enum("case", list(CASES), CASES, "Which layers; may be given several times.")
flags.adopt_module_key_flags(command_line)


def model_of_case(name):
    """Returns the model of a case, with random weights.

    Args:
        name: one of `CASES`.
    """
    shape, make = CASES[name]
    model = keras.Sequential([keras.Input(shape), *make()])
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.uniform(-1, 1, size=32) if "undoes" in name else None
    for layer in model.layers:
        if isinstance(layer, Layers.BatchNormalization):
            factors = rng.uniform(0.5, 1.5, size=32)
            layer.gamma.assign(factors)
            layer.moving_variance.assign(np.ones(32) if scales is None else scales**2)
        elif scales is not None:
            layer.kernel.assign(layer.kernel.numpy() * scales)
    return model


def compared(name):
    """Returns (bound now, bound before, seconds now, seconds before) of a case."""
    model = model_of_case(name)
    begin = time.perf_counter()
    now = lsrs_tf.lipschitz_bound(model)
    between = time.perf_counter()
    before = bound_of_layers(model.layers, model.input_shape)
    return now, before, between - begin, time.perf_counter() - between


def table(names):
    """Returns a Markdown table of cases.

    Args:
        names: list of some of `CASES`.
    """
    rows = []
    for name in progress(names, total=len(names), desc="bounds", unit="case", shown=True):
        now, before, seconds, seconds_before = compared(name)
        rows.append(
            [
                name,
                f"{now:.6g}",
                f"{before:.6g}",
                f"{now / before:.4f}",
                f"{seconds:.2f}",
                f"{seconds_before:.2f}",
                f"{seconds / seconds_before:.3f}",
            ]
        )
    return markdown_table(
        ["layers", "bound", "before", "now / before", "seconds", "before", "now / before"], rows
    )


def main(argv):
    """Measures and prints."""
    command_line.refuse_arguments(argv)
    print(table(flags.FLAGS.case))


if __name__ == "__main__":
    command_line.run(main)
