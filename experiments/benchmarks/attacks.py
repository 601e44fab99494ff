"""Time of an attack on the smoothed classifier, as a ratio to that of a certificate.

    python -m experiments.benchmarks.attacks
    python -m experiments.benchmarks.attacks runs/digits_ls

Without arguments it measures untrained networks: the ResNet18 for 32 x 32 pixels with 9 of 18
orthogonal layers, and that of digits_ls.flags. Arguments are folders of training runs; their test
images are attacked, away from what the classifier answers. An attack takes 100 steps with 32 draws,
on as many images as are attacked together, and its time is that of one of them; the certificate is
of the first one. On untrained networks seldom anything is found, so that little is asked of the
classifier: trained ones are what counts. Ratios are those of medians of one run; other work on the
machine blurs them.
"""

import numpy as np
from absl import flags

from experiments import checkpoints, command_line, datasets, shared_flags
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.measuring import interleaved_medians
from experiments.certified_test_set import evenly_spread
from experiments.run_directory import RunDirectory
from lsrs_tf import Certifier, models
from lsrs_tf.attacks.functions import attacker_of
from lsrs_tf.attacks.goal import Goal
from lsrs_tf.evaluation import markdown_table

flags.DEFINE_integer("attacked_width", 16, "Width of the ResNet18.", lower_bound=2)
flags.DEFINE_integer("attack_steps", 100, "Steps of an attack.", lower_bound=1)
flags.DEFINE_integer("certificate_n", 100_000, "Noisy samples of a certificate.", lower_bound=10)
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()


def attack_row(name, model, images, steps, n, rounds):
    """Returns a row of the table: seconds of an attacked image and of a certificate, and the ratio.

    Args:
        name: str.
        model: `LatentSmoothingModel`.
        images: float32 array [images, height, width, channels]; the first of them that have an
            answer are attacked, as many as are attacked together.
        steps: int, steps of the attack.
        n: int, noisy samples of the certificate.
        rounds: int, calls whose median counts.
    """
    attacker = attacker_of(model, "ddn", classifier="smoothed", steps=steps)
    answers = [(image, attacker.attacked.answer(image)) for image in images]
    # Where it abstains, nothing is searched for.
    answers = [(image, label) for image, label in answers if label >= 0]
    if not answers:
        raise ValueError(
            f"The smoothed classifier of {name} abstains for all {len(images)} images."
        )
    batch = answers[: attacker.attacked.batch_size]
    entries = [(image, Goal(label), np.inf) for image, label in batch]
    certifier = Certifier(model, n=n)

    def attack():
        # Nothing is remembered from one round to the next.
        attacker.attacked.forget()
        return list(attacker.outcomes(entries))

    medians = interleaved_medians(
        {"attack": attack, "certificate": lambda: certifier.certify(batch[0][0])}, rounds
    )
    each = medians["attack"] / len(entries)
    ratio = 100 * each / medians["certificate"]
    return [name, f"{len(entries)}", f"{each:.3f}", f"{medians['certificate']:.3f}", f"{ratio:.1f}"]


def attack_table(cases, steps, n, rounds):
    """Returns a Markdown table with a row for each case.

    Args:
        cases: list of (name, model, images), see `attack_row`, as are the others.
        steps: int.
        n: int.
        rounds: int.
    """
    header = ["model", "images", "attack (s/image)", "certificate (s)", "ratio (%)"]
    return markdown_table(header, [attack_row(*case, steps, n, rounds) for case in cases])


def untrained_cases(width):
    """Returns the cases without a training run; images are random."""
    generator = np.random.default_rng(0)
    cases = []
    for name, model in (
        ("ResNet18 9/18", models.resnet18(orthogonal_layers=9, width=width)),
        ("digits_ls", _digits_model()),
    ):
        shape = model.encoder.input_shape[1:]
        cases.append((name, model, generator.uniform(size=(16, *shape)).astype(np.float32)))
    return cases


def _digits_model():
    return models.compact_resnet(
        orthogonal_layers=2, width=4, downsampling=2, input_shape=(8, 8, 1), sigma=0.25
    )


def case_of_run(path, images, data_dir, download):
    """Returns the case of the folder of a training run."""
    run = RunDirectory(path)
    data = datasets.load(run.settings()["dataset"], data_dir, download)
    pairs = list(data.test(evenly_spread(data.num_test, images)))
    pixels = np.stack([np.asarray(image, np.float32) for image, _ in pairs])
    return str(path), checkpoints.load_model(run.model), pixels


def main(argv):
    """Measures and prints."""
    flag = flags.FLAGS
    cases = [
        case_of_run(path, flag.num_images or 32, flag.data_dir, flag.download) for path in argv[1:]
    ]
    cases = cases or untrained_cases(flag.attacked_width)
    print(attack_table(cases, flag.attack_steps, flag.certificate_n, flag.rounds))


if __name__ == "__main__":
    command_line.run(main)
