"""How near the sampling of votes comes to what the device can do, by precision and compiler.

    python -m experiments.benchmarks.device

First the rates of large matrix products, in TFLOP/s: the limits. Then the samples a second of the
head of a ResNet18 for 32 x 32 pixels at 9 of 18 layers, with its noise, plain and compiled by XLA,
and what part of the limit of its precision that is (two operations for each multiply-add of the
head; the noise counts for nothing). Last the encoder, which is frozen and in float64.

On a GPU, `float32` forbids TF32 for the process and `tf32` allows it, as TensorFlow does by
default; on a CPU there is no TF32.
"""

import time

import numpy as np
import tensorflow as tf
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.certification import resnet_of_dtype
from experiments.benchmarks.measuring import interleaved_medians
from lsrs_tf.evaluation import markdown_table, multiply_adds
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

_PRECISIONS = ["float32", "tf32", "bfloat16"]
_PRODUCTS = 8

flags.DEFINE_integer("device_width", 64, "Width of the ResNet18.", lower_bound=2)
flags.DEFINE_integer("device_samples", 16_384, "Noisy samples in one call.", lower_bound=16)
flags.DEFINE_list("device_precisions", _PRECISIONS, "What to measure; tf32 on GPUs only.")
flags.DEFINE_list("device_passes", ["256", "1024", "4096"], "Noisy samples in one pass.")
flags.DEFINE_integer("device_matrix", 8_192, "Rows of the matrices of the limits.", lower_bound=16)
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)


def _checked(precisions):
    for name in precisions:
        if name not in _PRECISIONS:
            raise ValueError(
                f"--device_precisions must be among {', '.join(_PRECISIONS)}. Received: {name!r}"
            )
    return precisions


def allow_tf32(precision):
    """Sets for the process whether GPUs may round float32 factors to TF32."""
    tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")


def product_rate(precision, size, rounds):
    """Returns the operations a second of products of square matrices."""
    allow_tf32(precision)
    dtype = tf.bfloat16 if precision == "bfloat16" else tf.float32
    left = tf.cast(tf.random.stateless_normal([size, size], seed=[0, 0]), dtype)

    @tf.function
    def chain():
        values = left
        for _ in range(_PRODUCTS):
            values = tf.matmul(left, values) / size**0.5
        return tf.reduce_sum(values)

    seconds = interleaved_medians({"product": lambda: chain().numpy()}, rounds)["product"]
    return _PRODUCTS * 2 * size**3 / seconds


def sampling_rate(precision, pass_size, jit_compile, rounds):
    """Returns (samples a second, operations a second, seconds of the first call)."""
    flag = flags.FLAGS
    allow_tf32(precision)
    model = resnet_of_dtype(
        9, flag.device_width, "bfloat16" if precision == "bfloat16" else "float32"
    )
    classifier = SmoothedClassifier(model, batch_size=pass_size, jit_compile=jit_compile)
    image = np.random.default_rng(0).uniform(size=(32, 32, 3)).astype(np.float32)
    latent = classifier.encode(image)

    def count():
        purposes = [(random_streams.ESTIMATION, flag.device_samples)]
        classifier.count(image, latent, purposes, seed=0)

    start = time.perf_counter()
    count()
    first = time.perf_counter() - start
    seconds = interleaved_medians({"count": count}, rounds)["count"]
    rate = flag.device_samples / seconds
    return rate, rate * 2 * multiply_adds(model.head), first


def limits_table(rates):
    """Returns a Markdown table of the rates of matrix products."""
    rows = [[precision, f"{rate / 1e12:.2f}"] for precision, rate in rates.items()]
    return markdown_table(["product of matrices", "TFLOP/s"], rows)


def sampling_rows(rates, rounds):
    """Yields rows: the samples a second of each precision, compiler and pass size."""
    for precision in rates:
        for jit_compile in (False, True):
            for size in map(int, flags.FLAGS.device_passes):
                rate, operations, first = sampling_rate(precision, size, jit_compile, rounds)
                yield [
                    precision,
                    "XLA" if jit_compile else "plain",
                    str(size),
                    f"{rate:.0f}",
                    f"{operations / 1e12:.2f}",
                    f"{100 * operations / rates[precision]:.0f} %",
                    f"{first:.1f}",
                ]


def encoder_table(rounds):
    """Returns a Markdown table of the seconds to make a classifier and to encode one image."""
    start = time.perf_counter()
    model = resnet_of_dtype(9, flags.FLAGS.device_width, "float32")
    classifier = SmoothedClassifier(model, batch_size=256)
    made = time.perf_counter() - start
    image = np.random.default_rng(0).uniform(size=(32, 32, 3)).astype(np.float32)
    encode = interleaved_medians({"encode": lambda: classifier.encode(image)}, rounds)["encode"]
    return markdown_table(
        ["frozen encoder 9/18", "s"],
        [["model, freezing, bound, checks", f"{made:.1f}"], ["one image", f"{encode:.4f}"]],
    )


def main(argv):
    """Measures and prints."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    devices = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    print("Devices:", ", ".join(devices) or "CPU", flush=True)
    rates = {
        name: product_rate(name, flag.device_matrix, flag.rounds)
        for name in _checked(flag.device_precisions)
        if name != "tf32" or devices
    }
    print(limits_table(rates), "\n", flush=True)
    rows = []
    for row in sampling_rows(rates, flag.rounds):
        print(" ".join(row), flush=True)
        rows.append(row)
    heads = [
        "precision",
        "compiler",
        "pass",
        "samples/s",
        "TFLOP/s",
        "of the limit",
        "first call (s)",
    ]
    print("\n" + markdown_table(heads, rows), "\n", flush=True)
    print(encoder_table(flag.rounds), flush=True)


if __name__ == "__main__":
    command_line.run(main)
