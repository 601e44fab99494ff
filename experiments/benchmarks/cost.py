"""Machine-hours of large certifications, predicted from multiply-adds and measured rates.

    python -m experiments.benchmarks.cost runs/cifar_is/certified.tsv runs/cifar_ls/certified.tsv

The model: an image takes the encoder once and the head for every sample,

    seconds = encoder / encoder rate + samples * head / head rate,

encoder and head in multiply-adds, and images are independent, so that machines divide them. The
rates of this machine are measured on a ResNet18 (9/18) for 32 x 32 pixels; those of heads on other
machines are given by `--machines`, and the encoder's is taken to be the same there. The first table
compares the model with the times in certification files, made on this machine while it did nothing
else; the second has the hours of CIFAR-10 and ImageNet. Reading of images, proof of bounds and
compilation, some minutes for each process, are not in it.
"""

import dataclasses

import numpy as np
from absl import flags

from experiments import command_line
from experiments.benchmarks import benchmark_flags
from experiments.benchmarks.certification import resnet_of_dtype, sampler
from experiments.benchmarks.measuring import interleaved_medians
from lsrs_tf import models
from lsrs_tf.evaluation import markdown_table, multiply_adds
from lsrs_tf.records.summary import UNKNOWN, read_run
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

# On one NVIDIA H100, passes of 4,096 samples compiled by XLA, and of 1,024 in TF32, see
# `docs/how-to/certify.md`: multiply-adds a second of heads.
_MACHINES = ["H100:18.5e12", "H100 TF32:46.7e12"]

flags.DEFINE_list(
    "machines",
    _MACHINES,
    "Names and multiply-adds a second of heads, such as 'my GPU:1e13'; with the price of an hour, "
    "such as 'my GPU:1e13@2.5', for a table of costs.",
)
flags.DEFINE_float(
    "price", None, "Price of an hour of a machine like this, for a table of costs.", lower_bound=0.0
)
flags.DEFINE_integer("workers", 64, "Workers like this machine, for one column.", lower_bound=1)
flags.DEFINE_integer("samples_of_fixed", 100_100, "Samples of the fixed method.", lower_bound=1)
flags.DEFINE_float(
    "samples_of_sequential",
    2_000,
    "Mean samples of an image by the sequential method; see experiments.benchmarks.samples.",
    lower_bound=1,
)
flags.DEFINE_integer("cost_width", 64, "Width of the ResNet18.", lower_bound=2)
flags.DEFINE_integer("cost_samples", 1_024, "Noisy samples in one call.", lower_bound=16)
flags.DEFINE_boolean("imagenet", True, "Build the networks for ImageNet as well (half a minute).")
flags.adopt_module_key_flags(benchmark_flags)
flags.adopt_module_key_flags(command_line)


@dataclasses.dataclass(frozen=True)
class Rates:
    """Multiply-adds a second of a machine.

    Attributes:
        encoder: float, of the frozen encoder, in float64.
        head: float, of passes of the head with their noise.
    """

    encoder: float
    head: float

    def seconds(self, once, sample, samples):
        """Returns the predicted seconds of an image.

        Args:
            once: int, multiply-adds of the encoder.
            sample: int, multiply-adds of the head for one sample.
            samples: float, samples of the image.
        """
        return once / self.encoder + samples * sample / self.head


def measured_rates(width, samples, rounds):
    """Returns the `Rates` of this machine, from a ResNet18 at 9 of 18 layers."""
    model = resnet_of_dtype(9, width, "float32")
    classifier = SmoothedClassifier(model, batch_size=256)
    image = np.random.default_rng(0).uniform(size=(32, 32, 3)).astype(np.float32)
    medians = interleaved_medians(
        {
            "encoder": lambda: classifier.encode(image),
            "head": sampler(classifier, image, samples),
        },
        rounds,
    )
    return Rates(
        multiply_adds(model.encoder) / medians["encoder"],
        samples * multiply_adds(model.head) / medians["head"],
    )


def file_rows(paths, rates):
    """Returns rows of a table: seconds of an image as predicted, and in certification files.

    Args:
        paths: list of certification files or folders of runs, with their multiply-adds.
        rates: `Rates` of the machine that certified them.
    """
    rows = []
    for path in paths:
        run = read_run(path)
        once, sample = run.setting("multiply_adds_per_image"), run.multiply_adds_per_sample
        if UNKNOWN in (once, run.setting("multiply_adds_per_sample")) or run.samples is None:
            raise ValueError(
                f"{path} does not tell multiply-adds and samples, which files of earlier versions "
                "and of margins lack. Give files of experiments.certify with samples."
            )
        predicted = rates.seconds(int(once), sample, float(run.samples.mean()))
        # Medians, since the first image warms up and others may meet a busy machine.
        each = np.array([record.seconds / record.value("samples") for record in run.records])
        found = float(np.median(each)) * float(run.samples.mean())
        rows.append(
            [run.name, f"{predicted:.3g}", f"{found:.3g}", f"{predicted / found:.2f}"],
        )
    return rows


def networks(with_imagenet):
    """Yields (data set, images, defense, multiply-adds of the encoder, of the head)."""
    kinds = [("CIFAR-10", 10_000, models.resnet18, {0: "IS-RS", 9: "LS-RS 9/18"})]
    if with_imagenet:
        depths = {0: "IS-RS", 16: "LS-RS 16/34"}
        kinds.append(("ImageNet", 50_000, models.wide_resnet34, depths))
    for name, images, make, depths in kinds:
        for depth, defense in depths.items():
            model = make(orthogonal_layers=depth)
            yield name, images, defense, multiply_adds(model.encoder), multiply_adds(model.head)


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine to plan with.

    Attributes:
        rate: float, multiply-adds a second of heads.
        price: float, of an hour, or None if it is not known.
    """

    rate: float
    price: float | None = None


def plan_hours(found, samples, machines):
    """Returns hours of whole test sets by (data set, defense, method), a dict of lists.

    Args:
        found: what `networks` yields.
        samples: dict of method to samples of an image.
        machines: list of `Rates`.
    """
    return {
        (name, defense, method): [
            images * machine.seconds(once, sample, count) / 3600 for machine in machines
        ]
        for name, images, defense, once, sample in found
        for method, count in samples.items()
    }


def parsed_machines(entries):
    """Returns dict of name to `Machine`, of texts such as 'my GPU:1e13' or 'my GPU:1e13@2.5'."""
    machines = {}
    for entry in entries:
        name, _, figures = entry.rpartition(":")
        rate, at, price = figures.partition("@")
        try:
            machine = Machine(float(rate), float(price) if at else None)
        except ValueError:
            machine = Machine(-1.0)
        sound = 0 < machine.rate < float("inf") and 0 <= (machine.price or 0.0) < float("inf")
        if not name or not sound:
            raise ValueError(
                "--machines takes names and multiply-adds a second, such as 'my GPU:1e13', and "
                f"perhaps the price of an hour, such as 'my GPU:1e13@2.5'. Received: {entry!r}"
            )
        machines[name] = machine
    return machines


def _figures(values):
    return ["-" if value is None else f"{value:,.3g}" for value in values]


def hours_table(hours, machines, workers):
    """Returns the table of hours; the second column divides the work between workers."""
    heads = ["data set", "network", "method", "hours here", f"{workers} like this", *machines]
    return markdown_table(
        heads,
        [[*key, *_figures([row[0], row[0] / workers, *row[1:]])] for key, row in hours.items()],
    )


def price_table(hours, machines, price):
    """Returns the table of costs; to divide the work between machines does not change them."""
    prices = [price, *(machine.price for machine in machines.values())]
    heads = ["data set", "network", "method", "cost here", *machines]
    rows = [
        [
            *key,
            *_figures(
                None if each is None else each * hour
                for each, hour in zip(prices, row, strict=True)
            ),
        ]
        for key, row in hours.items()
    ]
    return markdown_table(heads, rows)


def main(argv):
    """Measures and prints."""
    flag = flags.FLAGS
    machines = parsed_machines(flag.machines)
    rates = measured_rates(flag.cost_width, flag.cost_samples, flag.rounds)
    print(
        f"This machine: {rates.head:.3g} multiply-adds a second of a head, {rates.encoder:.3g} of "
        "a frozen encoder (float64).\n"
    )
    if argv[1:]:
        heads = ["file", "predicted (s/image)", "measured (s/image)", "predicted / measured"]
        print(markdown_table(heads, file_rows(argv[1:], rates)), "\n")
    samples = {"fixed": flag.samples_of_fixed, "sequential": flag.samples_of_sequential}
    # The encoder's rate of this machine is a lower limit of those of others.
    others = [Rates(rates.encoder, machine.rate) for machine in machines.values()]
    hours = plan_hours(networks(flag.imagenet), samples, [rates, *others])
    print(hours_table(hours, machines, flag.workers))
    if flag.price is not None or any(machine.price is not None for machine in machines.values()):
        print("\n" + price_table(hours, machines, flag.price))


if __name__ == "__main__":
    command_line.run(main)
