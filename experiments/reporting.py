"""Tables and pictures of certification files."""

import dataclasses
import fractions
import pathlib

import numpy as np

from lsrs_tf.evaluation.metrics import (
    certified_accuracy_interval,
    exact_average_certified_radius,
    exact_certified_accuracy,
)
from lsrs_tf.evaluation.plots import plot_certified_accuracy, plot_class_probabilities
from lsrs_tf.files import written_whole
from lsrs_tf.smoothing import records

_UNKNOWN = "-"
# What all rows of a file must agree on, where they tell it.
_SETTINGS = (
    "data",
    "replaced",
    "method",
    "target_radii",
    "tolerance",
    "sigma",
    "n0",
    "n",
    "alpha",
    "against",
    "seed",
    "noise",
    "shared_noise",
    "radius_loss",
    "lipschitz",
    "model",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One certification file, ready for tables.

    Attributes:
        path: the file.
        records: list of `records.Record`, at least one.
    """

    path: pathlib.Path
    records: list

    @property
    def radii(self):
        """Float array of the certified radii."""
        return np.array([record.radius for record in self.records])

    @property
    def correct(self):
        """Bool array, whether the certified class is the true one."""
        return np.array([record.correct for record in self.records])

    @property
    def clean_accuracy(self):
        """Fraction of images whose class without noise is the true one, or None if unknown."""
        clean = [record.extra.get("clean", _UNKNOWN) for record in self.records]
        if _UNKNOWN in clean:
            return None
        # -1 stands for no class, and for an unknown label.
        correct = sum(
            int(label) == record.label != -1
            for label, record in zip(clean, self.records, strict=True)
        )
        return fractions.Fraction(correct, len(clean))

    @property
    def samples(self):
        """Int array of the noisy samples of each image, or None if the file does not tell."""
        if not all("samples" in record.extra for record in self.records):
            return None
        return np.array([int(record.extra["samples"]) for record in self.records])

    @property
    def class_probabilities(self):
        """Float array, the share of the selected class in the votes; None if there are no votes."""
        votes = [records.votes_of(record) for record in self.records]
        if any(entry is None for entry in votes):
            return None
        return np.array(
            [counts[selection.argmax()] / max(1, counts.sum()) for selection, counts in votes]
        )

    @property
    def replaced(self):
        """Fraction of layers that is orthogonal, such as '9/18', or '-' if unknown."""
        return self.records[0].extra.get("replaced", _UNKNOWN)

    @property
    def defense(self):
        """'LS-RS', 'IS-RS' (nothing replaced) or '-'."""
        if self.replaced == _UNKNOWN:
            return _UNKNOWN
        return "IS-RS" if self.replaced.startswith("0/") else "LS-RS"

    @property
    def sigma(self):
        """Standard deviation of the noise, as text."""
        return self.records[0].extra.get("sigma", _UNKNOWN)

    @property
    def name(self):
        """A name for a legend."""
        if self.defense == _UNKNOWN:
            return self.path.stem
        return f"{self.defense} {self.replaced}, sigma {self.sigma}"


def read_run(path):
    """Reads a certification file.

    Args:
        path: the file, or the folder of a training run that holds `certified.tsv`.

    Returns:
        A `Run`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds no image.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "certified.tsv"
    found = records.read(path)
    if not found:
        raise ValueError(f"{path} holds no certified image yet.")
    for name in _SETTINGS:
        values = sorted({record.extra[name] for record in found if name in record.extra})
        if len(values) > 1:
            raise ValueError(
                f"{path} mixes rows of different settings, so that no table is true of it: {name} "
                f"is {' and '.join(values)}. Report them apart."
            )
    return Run(path, found)


def paper_table(runs):
    """Returns the table of the LS-RS paper (tables 1 to 3) in Markdown, a row per run.

    ACR and accuracies are rounded down.

    Accuracy is that of the smoothed classifier: certified with the true class at any radius. Clean
    is that of the base classifier without noise, which has no guarantee. Columns of abstentions,
    noisy samples and the number of images stand beside the paper's.
    """
    lines = [
        "| defense | sigma | replaced | ACR | accuracy (%) | time (s/example) | clean (%) "
        "| abstained (%) | samples/example | images |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        seconds = np.mean([record.seconds for record in run.records])
        abstained = np.mean([record.predict == -1 for record in run.records])
        cells = [
            run.defense,
            run.sigma,
            run.replaced,
            _floor(exact_average_certified_radius(run.radii, run.correct), 3),
            _percent(run, 0.0, 2),
            f"{seconds:.3f}",
            _UNKNOWN if run.clean_accuracy is None else _floor(100 * run.clean_accuracy, 2),
            f"{100 * abstained:.2f}",
            _UNKNOWN if run.samples is None else f"{run.samples.mean():.0f}",
            str(len(run.records)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def radius_table(runs, step=0.25):
    """Returns a Markdown table of certified accuracy (%) at radii, a row per run.

    Args:
        runs: list of `Run`.
        step: float, distance of the radii, which go from 0 to the largest certified one.
    """
    largest = max(run.radii.max() for run in runs)
    grid = np.arange(0, largest + step, step)
    lines = [
        "| certified accuracy (%) at radius | " + " | ".join(f"{at:.2f}" for at in grid) + " |",
        "|---" * (len(grid) + 1) + "|",
    ]
    for name, run in _distinct_names(runs).items():
        cells = [_percent(run, at, 1) for at in grid]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percent(run, at, places):
    return _floor(100 * exact_certified_accuracy(run.radii, run.correct, at), places)


def _floor(value, places):
    """Returns a fraction, at least 0, as a decimal of so many places that is not above it."""
    whole = value * 10**places // 1
    return f"{whole // 10**places}.{whole % 10**places:0{places}d}"


def write_report(paths, directory):
    """Writes `report.md`, `certified_accuracy.csv` and `.png`, `class_probabilities.png`.

    Args:
        paths: list of certification files or folders of training runs.
        directory: folder to write to.

    Returns:
        The text of the report.
    """
    runs = [read_run(path) for path in paths]
    directory = pathlib.Path(directory)
    text = f"{paper_table(runs)}\n{radius_table(runs)}"
    figure = plot_certified_accuracy(
        {name: (run.radii, run.correct) for name, run in _distinct_names(runs).items()}
    )
    with written_whole(directory / "certified_accuracy.png") as path:
        figure.savefig(path, dpi=150)
    with written_whole(directory / "certified_accuracy.csv") as path:
        path.write_text(_csv(runs))
    pictures = "![Certified accuracy, with bands of 95 %](certified_accuracy.png)\n"
    shares = {
        name: run.class_probabilities
        for name, run in _distinct_names(runs).items()
        if run.class_probabilities is not None
    }
    if shares:
        with written_whole(directory / "class_probabilities.png") as path:
            plot_class_probabilities(shares).savefig(path, dpi=150)
        pictures += "\n![Share of the selected class](class_probabilities.png)\n"
    with written_whole(directory / "report.md") as path:
        path.write_text(f"{text}\n{pictures}")
    return text


def _csv(runs, step=0.05):
    """Certified accuracies at radii, rounded down, with the bounds of their 95 % intervals."""
    lines = ["run,radius,certified_accuracy,lower,upper\n"]
    largest = max(run.radii.max() for run in runs)
    for name, run in _distinct_names(runs).items():
        for at in np.arange(0, largest + step, step).round(10):
            accuracy = _floor(exact_certified_accuracy(run.radii, run.correct, at), 6)
            lower, upper = certified_accuracy_interval(run.radii, run.correct, at)
            quoted = name.replace('"', '""')
            lines.append(f'"{quoted}",{at:g},{accuracy},{lower:.6f},{upper:.6f}\n')
    return "".join(lines)


def _distinct_names(runs):
    names = [run.name for run in runs]
    return {
        run.name if names.count(run.name) == 1 else f"{run.name} ({run.path})": run for run in runs
    }
