"""Throughput and memory of the sampling of votes.

    python -m experiments.benchmarks.certification

All with untrained weights, and all but the dense heads on ResNet18 for 32 x 32 pixels:

- the sampler (own noise for each image; shared by 16 images; exact), compared with a loop of the
  same passes of the head on a latent without noise; in float32, in bfloat16, and with
  `head_dtype="bfloat16"`;
- latent space against input space smoothing at 5, 9 and 13 of 18 layers, compared with the ratio of
  the multiply-adds of their heads;
- heads of one dense layer, for latents of several sizes: noise of the logits against the customary;
- a plain loop in PyTorch (`pip install -e ".[benchmark]"`) on the same head, float32 and bfloat16;
- peak memory of one image with 1,000 and with 100,000 samples, on a narrow network.

Ratios are those of medians of one run; other work on the machine blurs them.
"""

import importlib.util

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.measuring import interleaved_medians, peak_memory
from lsrs_tf import models
from lsrs_tf.evaluation import markdown_table, multiply_adds
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from lsrs_tf.sampling.votes import votes_of

flags.DEFINE_integer("head_width", 64, "Width of the ResNet18.", lower_bound=2)
flags.DEFINE_integer("samples", 512, "Noisy samples in one call.", lower_bound=16)
flags.DEFINE_integer("pass_size", 256, "Noisy samples in one pass.", lower_bound=16)
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)

_SHARING = 16
# The policy of a model, and what its head is cast to afterwards.
_PRECISIONS = {
    "float32": ("float32", None),
    "bfloat16": ("bfloat16", None),
    "float32, head cast to bfloat16": ("float32", "bfloat16"),
}


def bare_loop(classifier, head, samples):
    """Returns a function that runs the passes of the head and counts votes, without noise."""
    latents = tf.zeros([classifier.batch_size, *classifier.latent_shape])

    @tf.function
    def count():
        found = tf.zeros([classifier.num_classes], tf.int64)
        for _ in tf.range(-(-samples // classifier.batch_size)):
            # One pass at a time, as where votes are counted.
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            votes = votes_of(head(latents, training=False))
            found += tf.reduce_sum(tf.cast(votes, tf.int64), axis=0)
        return found

    return lambda: count().numpy()


def sampler(classifier, image, samples):
    """Returns a function that counts votes of one image, encoded before, with its own noise."""
    latent, stream = (
        classifier.encode(image),
        random_streams.stream(0, image, random_streams.ESTIMATION),
    )

    def count():
        for first in range(0, samples, classifier.batch_size):
            size = min(classifier.batch_size, samples - first)
            classifier.count_packed([latent], [stream], [first], [size])

    return count


def shared_sampler(classifier, image, samples):
    """Returns a function that counts as many votes in all, of images that share their noise."""
    latents = [classifier.encode(image)] * _SHARING
    return lambda: classifier.count_shared(
        latents, random_streams.ESTIMATION, samples // _SHARING, 0
    )


def many_samples(samples, width):
    """Returns a function that counts votes of one image on a narrow network."""
    model = models.resnet18(width=width)
    classifier = SmoothedClassifier(model, batch_size=256)
    image = np.zeros(classifier.image_shape, np.float32)
    classifier.warm_up()
    return sampler(classifier, image, samples)


def sampler_table(width, samples, batch_size, rounds):
    """Returns a Markdown table: the sampler, the bare passes of the head, and PyTorch."""
    cases = {}
    image = np.random.default_rng(0).uniform(size=(32, 32, 3)).astype(np.float32)
    for dtype, (policy, head_dtype) in _PRECISIONS.items():
        model = resnet_of_dtype(9, width, policy)
        classifier = SmoothedClassifier(model, batch_size=batch_size, head_dtype=head_dtype)
        cases[f"{dtype}: passes without noise"] = bare_loop(classifier, classifier.head, samples)
        cases[f"{dtype}: own noise"] = sampler(classifier, image, samples)
        cases[f"{dtype}: shared noise"] = shared_sampler(classifier, image, samples)
        if head_dtype is not None:
            continue
        exact = SmoothedClassifier(model, batch_size=batch_size, noise="exact")
        cases[f"{dtype}: exact noise, shared"] = shared_sampler(exact, image, samples)
        if importlib.util.find_spec("torch"):
            cases[f"{dtype}: PyTorch"] = _torch_sampler(width, dtype, samples, batch_size)
    medians = interleaved_medians(cases, rounds)
    rows = []
    for name, seconds in medians.items():
        dtype = name.split(":")[0]
        by_torch = medians.get(f"{dtype}: PyTorch")
        rows.append(
            [
                name,
                f"{samples / seconds:.0f}",
                f"{medians[f'{dtype}: passes without noise'] / seconds:.2f}",
                "-" if by_torch is None else f"{by_torch / seconds:.2f}",
            ]
        )
    return markdown_table(["9/18", "samples/s", "/ passes without noise", "/ PyTorch"], rows)


def depth_table(width, samples, batch_size, rounds, depths=(0, 5, 9, 13)):
    """Returns a Markdown table: latent and input space smoothing, with shared noise."""
    image = np.random.default_rng(0).uniform(size=(32, 32, 3)).astype(np.float32)
    cases, work = {}, {}
    for depth in depths:
        model = resnet_of_dtype(depth, width, "float32")
        classifier = SmoothedClassifier(model, batch_size=batch_size)
        cases[depth] = shared_sampler(classifier, image, samples)
        work[depth] = multiply_adds(model.head)
    medians = interleaved_medians(cases, rounds)
    rows = []
    for depth, seconds in medians.items():
        gain, ideal = medians[0] / seconds, work[0] / work[depth]
        rows.append(
            [
                f"{depth}/18",
                f"{samples / seconds:.0f}",
                f"{gain:.2f}",
                f"{ideal:.2f}",
                f"{gain / ideal:.2f}",
            ]
        )
    return markdown_table(
        ["replaced", "samples/s", "times as fast as 0/18", "ratio of multiply-adds", "of that"],
        rows,
    )


def dense_table(samples, batch_size, rounds, sizes=(512, 2_048, 8_192, 32_768)):
    """Returns a Markdown table: customary noise, and that of the logits of a dense head."""
    cases = {}
    for size in sizes:
        model = _dense_model(size)
        image = np.random.default_rng(0).uniform(size=model.encoder.input_shape[1:])
        for noise in ("float32", "logits"):
            classifier = SmoothedClassifier(model, batch_size=batch_size, noise=noise)
            cases[size, noise] = sampler(classifier, image.astype(np.float32), samples)
    medians = interleaved_medians(cases, rounds)
    rows = []
    for size in sizes:
        plain, few = (samples / medians[size, noise] for noise in ("float32", "logits"))
        rows.append([str(size), f"{plain:.0f}", f"{few:.0f}", f"{few / plain:.1f}"])
    return markdown_table(["latent values", "samples/s", "of the logits", "times as fast"], rows)


def memory_table():
    """Returns a Markdown table of the peak memory at few and at many samples."""
    return markdown_table(
        ["samples", "peak memory (MB)"],
        [
            [str(samples), f"{peak_memory(many_samples, samples, 4) / 1e6:.0f}"]
            for samples in (1_000, 100_000)
        ],
    )


def resnet_of_dtype(orthogonal_layers, width, dtype):
    """Returns a ResNet18 for 32 x 32 pixels of 'float32' or mixed 'bfloat16'."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if dtype == "float32" else "mixed_bfloat16")
    try:
        return models.resnet18(orthogonal_layers=orthogonal_layers, width=width)
    finally:
        keras.config.set_dtype_policy(policy)


def _dense_model(size):
    # Images of 8 channels, which nothing changes, and ten classes.
    shape = (8, size // 64, 8)
    encoder = keras.Sequential([keras.Input(shape), keras.layers.Identity()])
    head = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10)]
    return models.LatentSmoothingModel(encoder, keras.Sequential(head), sigma=0.25)


def _torch_sampler(width, dtype, samples, batch_size):
    import torch

    from experiments.benchmarks.torch_resnet import TorchHead, count_votes

    blocks = [(4 * width, 2), (4 * width, 1), (8 * width, 2), (8 * width, 1)]
    head = TorchHead(2 * width, blocks, 10).eval()
    latent = torch.zeros(2 * width, 16, 16)
    if dtype == "bfloat16":
        head, latent = head.bfloat16(), latent.bfloat16()
    return lambda: count_votes(head, latent, 0.25, samples, batch_size, 10)


def main(argv):
    """Measures and prints."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    settings = (flag.head_width, flag.samples, flag.pass_size, flag.rounds)
    print(sampler_table(*settings), flush=True)
    print(depth_table(*settings), flush=True)
    print(dense_table(*settings[1:]), flush=True)
    if flag.memory:
        print(memory_table())


if __name__ == "__main__":
    command_line.run(main)
