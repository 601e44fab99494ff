"""Time of a training step with each objective, as a ratio to Gaussian training.

    python -m experiments.benchmarks.objectives

Each row is one step of the optimizer on ResNet18 for 32 x 32 pixels, with the numbers that the
objectives have by default. In the latent the encoder runs once; at 0 of 18 orthogonal layers, where
all of the network is the head, an objective costs what it costs in input space. Ratios are those of
medians of one run; other work on the machine blurs them.
"""

import keras
import numpy as np
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.measuring import interleaved_medians
from lsrs_tf import models, training

_OBJECTIVES = {
    "gaussian": training.Gaussian,
    "consistency": training.Consistency,
    "catrs": training.CATRS,
    "macer": training.MACER,
    "smoothadv": training.SmoothAdv,
}

flags.DEFINE_list("objectives", list(_OBJECTIVES), "Objectives, in addition to Gaussian training.")
flags.DEFINE_list("depths", ["0", "9"], "Orthogonal layers of the ResNet18.")
flags.DEFINE_integer("step_width", 16, "Width of the ResNet18.", lower_bound=2)
flags.DEFINE_integer("step_images", 64, "Images in a batch.", lower_bound=1)
flags.DEFINE_enum(
    "step_compiler",
    "auto",
    ["auto", "xla", "none"],
    "Whether XLA compiles the step; auto: as Keras decides, which asks the layers.",
)
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)


def training_step(objective, orthogonal_layers, width, batch_size, jit_compile="auto"):
    """Returns a function that takes one optimizer step of a ResNet18 for 32 x 32 pixels."""
    model = models.resnet18(orthogonal_layers=orthogonal_layers, width=width)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        objective=objective,
        jit_compile=jit_compile,
    )
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch_size, 32, 32, 3)).astype(np.float32)
    classes = rng.integers(10, size=batch_size)
    return lambda: model.train_on_batch(images, classes)


def step_table(names, depths, width, batch_size, rounds, jit_compile="auto"):
    """Returns the lines of a Markdown table of training steps."""
    lines = ["| replaced | objective | ms a step | / gaussian |", "|---|---|---|---|"]
    for depth in depths:
        medians = interleaved_medians(
            {
                name: training_step(_OBJECTIVES[name](), depth, width, batch_size, jit_compile)
                for name in dict.fromkeys(["gaussian", *names])
            },
            rounds,
        )
        lines += [
            f"| {depth}/18 | {name} | {1e3 * seconds:.0f} | {seconds / medians['gaussian']:.2f} |"
            for name, seconds in medians.items()
        ]
    return lines


def main(argv):
    """Measures and prints."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    for name in flag.objectives:
        if name not in _OBJECTIVES:
            raise ValueError(
                f"--objectives must be among {', '.join(_OBJECTIVES)}. Received: {name!r}"
            )
    settings = (flag.step_width, flag.step_images, flag.rounds)
    depths = [int(depth) for depth in flag.depths]
    jit_compile = {"auto": "auto", "xla": True, "none": False}[flag.step_compiler]
    print("\n".join(step_table(flag.objectives, depths, *settings, jit_compile)))


if __name__ == "__main__":
    command_line.run(main)
