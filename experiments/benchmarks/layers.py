"""Time and memory of the orthogonal convolution, a plain one, and one in PyTorch.

    python -m experiments.benchmarks.layers

Each row is a 3 x 3 convolution with as many outputs as inputs: `plain` is `keras.layers.Conv2D`,
`orthogonal` is `OrthogonalConv2D`, `frozen` the same with its transform evaluated once, in float32,
and `torch` a Cayley layer in PyTorch (`pip install -e ".[benchmark]"`). Backward passes go to the
inputs and the kernel. The last table has a training step of ResNet18, with and without
orthogonal layers. Ratios are those of medians of one run; other work on the machine blurs them.
"""

import importlib.util

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.measuring import interleaved_medians, peak_memory
from lsrs_tf import layers, models
from lsrs_tf.evaluation import markdown_table
from lsrs_tf.progress import progress

flags.DEFINE_integer("images", 128, "Images in a batch; a quarter at 112 x 112.", lower_bound=4)
flags.DEFINE_list("shapes", ["64x32", "128x16", "256x8", "32x112"], "Channels x pixels.")
flags.DEFINE_list("step_widths", ["16", "64"], "Widths of the ResNet18; empty for no steps.")
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)

_PASSES = ("forward", "forward + backward")


def convolution(kind, channels, size, batch_size, with_gradient):
    """Returns a function that runs one pass of a convolution.

    Args:
        kind: 'plain', 'orthogonal', 'frozen' or 'torch'.
        channels: int.
        size: int, height and width in pixels.
        batch_size: int.
        with_gradient: bool, whether to go back to the inputs and the kernel.
    """
    images = np.random.default_rng(0).normal(size=(batch_size, size, size, channels))
    images = images.astype(np.float32)
    if kind == "torch":
        return _torch_pass(images.transpose(0, 3, 1, 2), with_gradient)
    images = tf.constant(images)
    layer = _layer(kind, images)

    @tf.function(jit_compile=False)
    def outputs_or_gradients(images):
        if not with_gradient:
            return layer(images)
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
        # The outputs' gradient is that of half their squares.
        return tape.gradient(outputs, [images, *layer.trainable_weights], output_gradients=outputs)

    def run():
        outputs_or_gradients(images)
        tf.test.experimental.sync_devices()

    return run


def _layer(kind, images):
    channels = images.shape[-1]
    if kind == "plain":
        layer = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False)
        layer.build(images.shape)
        return layer
    orthogonal = layers.OrthogonalConv2D(channels, 3, use_bias=False)
    orthogonal.build(images.shape)
    if kind == "orthogonal":
        return orthogonal
    frozen = layers.SpectralConv2D(channels, use_bias=False)
    frozen.build(images.shape)
    frozen.spectrum.assign(orthogonal.spectrum("float32"))
    return frozen


def _torch_pass(images, with_gradient):
    import torch

    from experiments.benchmarks.torch_cayley import TorchCayleyConv2d

    images = torch.from_numpy(np.ascontiguousarray(images)).requires_grad_(with_gradient)
    layer = TorchCayleyConv2d(images.shape[1], 3)

    def run():
        with torch.set_grad_enabled(with_gradient):
            outputs = layer(images)
            if with_gradient:
                torch.autograd.grad(outputs, [images, layer.kernel], grad_outputs=outputs)

    return run


def training_step(orthogonal_layers, width, batch_size):
    """Returns a function that takes one optimizer step of a ResNet18 for 32 x 32 pixels."""
    model = models.resnet18(orthogonal_layers=orthogonal_layers, width=width)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch_size, 32, 32, 3)).astype(np.float32)
    classes = rng.integers(10, size=batch_size)
    return lambda: model.train_on_batch(images, classes)


def layer_table(shapes, batch_size, rounds, with_memory):
    """Returns a Markdown table of all layers at some (channels, size)."""
    kinds = ["plain", "orthogonal", "frozen"]
    if importlib.util.find_spec("torch"):
        kinds.append("torch")
    else:
        print("PyTorch is not installed; there will be no rows for it.")
    rows = []
    for channels, size in progress(
        shapes, total=len(shapes), desc="layers", unit="shape", shown=True
    ):
        batch = batch_size // 4 if size >= 112 else batch_size
        for with_gradient, passed in enumerate(_PASSES):
            # Nothing is trained in a frozen layer.
            cases = [kind for kind in kinds if not (with_gradient and kind == "frozen")]
            medians = interleaved_medians(
                {
                    kind: convolution(kind, channels, size, batch, bool(with_gradient))
                    for kind in cases
                },
                rounds,
            )
            for kind in cases:
                memory = "-"
                if with_memory:
                    case = (kind, channels, size, batch, bool(with_gradient))
                    memory = f"{peak_memory(convolution, *case) / 1e6:.0f}"
                by_torch = "-"
                if "torch" in medians and kind != "torch":
                    by_torch = f"{medians['torch'] / medians[kind]:.2f}"
                rows.append(
                    [
                        f"{channels} channels, {size}x{size}",
                        kind,
                        passed,
                        f"{1e3 * medians[kind]:.1f}",
                        f"{medians[kind] / medians['plain']:.2f}",
                        by_torch,
                        memory,
                    ]
                )
    return markdown_table(
        ["shape", "layer", "pass", "ms", "/ plain", "torch / this", "peak memory (MB)"], rows
    )


def step_table(widths, batch_size, rounds):
    """Returns a Markdown table of training steps."""
    rows = []
    for width in widths:
        medians = interleaved_medians(
            {depth: training_step(depth, width, batch_size) for depth in (0, 9)}, rounds
        )
        rows.append(
            [
                str(width),
                f"{1e3 * medians[0]:.0f}",
                f"{1e3 * medians[9]:.0f}",
                f"{medians[9] / medians[0]:.2f}",
            ]
        )
    return markdown_table(
        ["ResNet18, width", "plain 0/18 (ms)", "orthogonal 9/18 (ms)", "ratio"], rows
    )


def _shape(text):
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(
            "--shapes must be channels x pixels, separated by commas, such as 64x32,128x16. "
            f"Received: {text!r}"
        )
    return tuple(map(int, parts))


def main(argv):
    """Measures and prints."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    shapes = [_shape(text) for text in flag.shapes]
    print(layer_table(shapes, flag.images, flag.rounds, flag.memory), flush=True)
    widths = [int(width) for width in flag.step_widths if width]
    if widths:
        print(step_table(widths, flag.images, flag.rounds))


if __name__ == "__main__":
    command_line.run(main)
