"""Tables and pictures of certification files."""

import csv
import pathlib

import numpy as np

from experiments import attack_report, cost_report
from experiments.sandwich import left_out, sandwiches
from experiments.training_differences import differences_table
from lsrs_tf.evaluation import (
    certified_accuracy_interval,
    exact_average_certified_radius,
    exact_certified_accuracy,
    markdown_table,
    plot_certified_accuracy,
    plot_class_probabilities,
    rounded_down,
)
from lsrs_tf.files import written_whole
from lsrs_tf.records.reading import IN_A_FOLDER
from lsrs_tf.records.summary import UNKNOWN, read_run

# Columns and lines of tables of radii; those of other packages may be in other units.
_MOST_COLUMNS, _MOST_LINES = 40, 2_000


def paper_table(runs):
    """Returns the table of the LS-RS paper (tables 1 to 3) in Markdown, a row per run.

    ACR and accuracies are rounded down.

    Accuracy is that of the classifier that is certified, with the true class at any radius: the
    smoothed one, or for margins the base classifier. Clean is that of the base classifier without
    noise, certified or not. Columns of the classifier, of abstentions, noisy samples, costs and the
    number of images stand next to the paper's, and before them one of files and folders where rows
    have the same settings.
    """
    told_apart = _are_told_apart(runs)
    header, *rows = [row[1:] if told_apart else row for row in _paper_rows(runs)]
    return markdown_table(header, rows)


def _are_told_apart(runs):
    """Returns whether the settings in the paper's table are others in each run."""
    settings = {
        (run.defense, run.classifier, run.sigma, run.replaced, run.certificates) for run in runs
    }
    return len(settings) == len(runs)


def _paper_rows(runs):
    rows = [
        [
            "run",
            "defense",
            "classifier",
            "sigma",
            "replaced",
            "ACR",
            "accuracy (%)",
            "time (s/example)",
            "clean (%)",
            "abstained (%)",
            "samples/example",
            *cost_report.HEADER,
            "images",
            "certificates",
        ]
    ]
    for run in runs:
        abstained = np.mean([record.predict == -1 for record in run.records])
        rows.append(
            [
                str(run.path),
                run.defense,
                run.classifier,
                run.sigma,
                run.replaced,
                rounded_down(exact_average_certified_radius(run.radii, run.correct), 3),
                _percent(run, 0.0, 2),
                UNKNOWN if run.seconds is None else f"{run.seconds:.3f}",
                UNKNOWN
                if run.clean_accuracy is None
                else rounded_down(100 * run.clean_accuracy, 2),
                f"{100 * abstained:.2f}",
                UNKNOWN if run.samples is None else f"{run.samples.mean():.0f}",
                *cost_report.cost_cells(run),
                str(len(run.records)),
                run.certificates,
            ]
        )
    return rows


def radius_table(runs, step=0.25):
    """Returns a Markdown table of certified accuracy (%) at radii, a row per run.

    Args:
        runs: list of `Run`.
        step: float, distance of the radii, which go from 0 to the largest certified one; it is
            doubled until they are a table.
    """
    largest = max(run.radii.max() for run in runs)
    grid = _grid(largest, step, _MOST_COLUMNS)
    return markdown_table(
        ["certified accuracy (%) at radius", *(f"{at:.2f}" for at in grid)],
        [
            [name, *(_percent(run, at, 1) for at in grid)]
            for name, run in _distinct_names(runs).items()
        ],
    )


def _two_places(share):
    return rounded_down(100 * share, 2)


def _grid(largest, step, most):
    """Returns radii from 0 beyond the largest, at most so many: a double step is tried until then.

    Args:
        largest: float.
        step: float.
        most: int.
    """
    while largest / step > most:
        step *= 2
    return np.arange(0, largest + step, step)


def _percent(run, at, places):
    return rounded_down(100 * exact_certified_accuracy(run.radii, run.correct, at), places)


def write_report(paths, directory, cost_radius=cost_report.RADIUS):
    """Writes `report.md`, tables in CSV files, and pictures.

    Args:
        paths: list of certification files or folders of training runs.
        directory: folder to write to.
        cost_radius: float, L2 radius at which certified accuracy is held against its cost.

    Returns:
        The text of the report.
    """
    cost_report.checked_radius(cost_radius)
    given = [pathlib.Path(path).resolve() for path in paths]
    given = [path / IN_A_FOLDER if path.is_dir() else path for path in given]
    for path in given:
        if given.count(path) > 1:
            raise ValueError(f"{path} is given more than once. Name each file or folder once.")
    runs = [read_run(path) for path in paths]
    directory = pathlib.Path(directory)
    text = f"{paper_table(runs)}\n{radius_table(runs)}"
    differences = "" if _are_told_apart(runs) else differences_table(runs)
    if differences:
        text += f"\n{differences}"
    figure = plot_certified_accuracy(
        {name: (run.radii, run.correct) for name, run in _distinct_names(runs).items()}
    )
    with written_whole(directory / "certified_accuracy.png") as path:
        figure.savefig(path, dpi=150)
    _write_csv(directory / "certified_accuracy.csv", _curves(runs))
    _write_csv(directory / "summary.csv", _paper_rows(runs))
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
    known = cost_report.costs_known(_distinct_names(runs))
    if len(known) > 1:
        _write_csv(directory / "cost.csv", cost_report.cost_rows(known, cost_radius))
        with written_whole(directory / "cost.png") as path:
            cost_report.plot_costs(known, cost_radius).savefig(path, dpi=150)
        pictures += "\n![Radius and accuracy against the cost of a certificate](cost.png)\n"
        text += cost_report.other_images_line(known)
    attacked = sandwiches(_distinct_names(runs))
    found = [one for one in attacked if one.pairs]
    if found:
        alarms = "".join(f"\n{_contradictions(one)}\n" for one in found)
        text += f"\n{attack_report.sandwich_table(found)}{alarms}"
        _write_csv(directory / "sandwich.csv", attack_report.sandwich_rows(found))
        with written_whole(directory / "sandwich.png") as path:
            attack_report.plot_sandwiches(found).savefig(path, dpi=150)
        pictures += "\n![Certified accuracy and accuracy under attack](sandwich.png)\n"
        text += attack_report.other_images_line(found)
    lines = attack_report.unpaired_lines(attacked) + left_out(runs)
    text += "".join(f"\n{line}" for line in lines)
    with written_whole(directory / "report.md") as path:
        path.write_text(f"{text}\n{pictures}")
    return text


def alarms_of(paths):
    """Returns what is wrong with certificates that attacks contradict, a list of str.

    Args:
        paths: list of certification files or folders of training runs.
    """
    found = sandwiches(_distinct_names([read_run(path) for path in paths]))
    return [_contradictions(one) for one in found if one.contradictions().alarm]


def _contradictions(one):
    """Returns what the attacks of a `Sandwich` say of its certificates, str."""
    return " ".join(filter(None, [f"{one.name}: {one.contradictions()}", one.other_noise]))


def _curves(runs, step=0.05):
    """Certified accuracies at radii, rounded down, with the bounds of their 95 % intervals."""
    rows = [["run", "radius", "certified_accuracy", "lower", "upper"]]
    largest = max(run.radii.max() for run in runs)
    for name, run in _distinct_names(runs).items():
        for at in _grid(largest, step, _MOST_LINES).round(10):
            accuracy = rounded_down(exact_certified_accuracy(run.radii, run.correct, at), 6)
            lower, upper = certified_accuracy_interval(run.radii, run.correct, at)
            rows.append([name, f"{at:g}", accuracy, f"{lower:.6f}", f"{upper:.6f}"])
    return rows


def _write_csv(path, rows):
    with written_whole(path) as unfinished, unfinished.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _distinct_names(runs):
    """Returns dict of name to run.

    Equal names are told apart by the settings of certificates where that is enough, else by the
    file: what is the same in all of them would only make a legend long.
    """
    plain = [run.name for run in runs]
    longer = [f"{run.name}, {run.certificates}" for run in runs]
    names = []
    for run, name, long_name in zip(runs, plain, longer, strict=True):
        alike = [other for other, shared in zip(longer, plain, strict=True) if shared == name]
        if len(alike) == 1:
            names.append(name)
        else:
            apart = len({*alike}) == len(alike)
            names.append(long_name if apart else f"{name} ({run.path})")
    return dict(zip(names, runs, strict=True))
