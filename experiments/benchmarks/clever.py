"""CLEVER between the proven radius and the nearest adversarial image found, image by image.

    python -m experiments.benchmarks.clever runs/digits_margin --num_images=20

The run is one that margins certify. CLEVER is an estimate: the last line counts the images on which
it lies above an attack, where it is wrong for certain.
"""

import numpy as np
from absl import flags

import lsrs_tf
from experiments import certified_test_set, checkpoints, command_line, datasets, shared_flags
from experiments.run_directory import RunDirectory
from lsrs_tf.evaluation import markdown_table, rounded_down

_ATTACKS = ("ddn", "fmn", "deepfool")

flags.DEFINE_integer("maxima", 500, "Maxima that CLEVER fits laws to.", lower_bound=10)
flags.DEFINE_integer("gradients", 1_024, "Gradients that each maximum is of.", lower_bound=1)
flags.DEFINE_float("clever_radius", 5.0, "Radius of CLEVER's ball.", lower_bound=0.0)
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()


def distances(model, images, labels, **of_clever):
    """Returns (proven radii, estimates, distances of the nearest image that an attack found).

    Args:
        model: `LatentSmoothingModel`.
        images: float32 array [images, height, width, channels].
        labels: int array [images], of the base classifier where it is right.
        **of_clever: arguments of `lsrs_tf.clever`.
    """
    proven = lsrs_tf.certify(model, images, method="margin", verbose=0).radii
    estimates = lsrs_tf.clever(model, images, **of_clever).estimates
    found = [
        lsrs_tf.attack(model, images, labels, method=method, verbose=0).distances
        for method in _ATTACKS
    ]
    return proven, estimates, np.min(found, axis=0)


def table(indices, proven, estimates, found):
    """Returns a Markdown table with a row for each image."""
    return markdown_table(
        ["image", "proven radius", "CLEVER (estimate)", "best attack"],
        [
            [str(index), rounded_down(radius, 4), f"{estimate:.4f}", f"{distance:.4f}"]
            for index, radius, estimate, distance in zip(
                indices, proven, estimates, found, strict=True
            )
        ],
    )


def main(argv):
    """Prints the table."""
    if len(argv) != 2:
        raise ValueError("Give the folder of a training run.")
    flag = flags.FLAGS
    run = RunDirectory(argv[1])
    data = datasets.load(run.settings()["dataset"], flag.data_dir, flag.download)
    model = checkpoints.load_model(run.model)
    indices = certified_test_set.evenly_spread(data.num_test, flag.num_images)
    images, labels = map(np.stack, zip(*data.test(indices).as_numpy_iterator(), strict=True))
    proven, estimates, found = distances(
        model,
        images,
        labels,
        radius=flag.clever_radius,
        maxima=flag.maxima,
        gradients_per_maximum=flag.gradients,
        seed=flag.seed,
    )
    right = found > 0
    print(table(np.array(indices)[right], proven[right], estimates[right], found[right]))
    print(
        f"Attacks: the nearest of {', '.join(_ATTACKS)}. CLEVER lies above an attack on "
        f"{np.count_nonzero(estimates[right] > found[right])} of {right.sum()} images, a proven "
        f"radius on {np.count_nonzero(proven[right] > found[right])}."
    )


if __name__ == "__main__":
    command_line.run(main)
