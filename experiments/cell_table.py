"""The table of the cells, ours next to the paper's."""

import csv
import io

from absl import flags

from lsrs_tf.evaluation import (
    exact_average_certified_radius,
    exact_certified_accuracy,
    markdown_table,
    rounded_down,
)
from lsrs_tf.files import written_whole
from lsrs_tf.records.summary import UNKNOWN

_HEADER = [
    "cell",
    "defense",
    "sigma",
    "replaced",
    "ACR",
    "ACR (paper)",
    "accuracy (%)",
    "accuracy (%, paper)",
    "time (s/example)",
    "time (paper)",
    "setting",
]
# Told of every cell; other settings where they are not those of the paper.
_ALWAYS = ("width", "widen_factor", "epochs", "seed")
_OF_CELLS = ("model", "orthogonal_layers", "sigma")


def table_rows(states):
    """Returns header and rows of the table, lists of str; '-' for cells that are not finished.

    ACR and accuracies are rounded down. Without noise the accuracy is that of the base classifier,
    certified or not, as in the paper; with noise that of the smoothed one.

    Args:
        states: list of `CellState`.
    """
    rows = [_HEADER]
    for state in states:
        cell = state.plan.cell
        acr, accuracy, seconds = _figures(state)
        rows.append(
            [
                str(state.plan.number),
                cell.defense,
                f"{cell.sigma:.2f}",
                state.plan.replaced,
                acr,
                cell.acr,
                accuracy,
                cell.accuracy,
                seconds,
                cell.seconds,
                _setting(state),
            ]
        )
    return rows


def table_text(table, number, states):
    """Returns the table in Markdown.

    Args:
        table: `paper_tables.PaperTable`.
        number: int, that of the table.
        states: list of `CellState`.
    """
    header, *rows = table_rows(states)
    return f"Table {number} of the LS-RS paper: {table.caption}.\n\n{markdown_table(header, rows)}"


def write_table(table, number, states, directory):
    """Writes the table as Markdown and as CSV.

    Args:
        table: `paper_tables.PaperTable`.
        number: int, that of the table.
        states: list of `CellState`.
        directory: `pathlib.Path` of the folder to write to.

    Returns:
        (text of the table in Markdown, names of the files).
    """
    text = table_text(table, number, states)
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(table_rows(states))
    paths = [directory / f"table{number}{suffix}" for suffix in (".md", ".csv")]
    for path, content in zip(paths, (text, lines.getvalue()), strict=True):
        with written_whole(path) as unfinished:
            unfinished.write_text(content, newline="")
    return text, " and ".join(map(str, paths))


def _figures(state):
    """Returns ACR, accuracy in percent and seconds of a cell, as text."""
    if not state.finished:
        return [UNKNOWN] * 3
    run = state.run
    acr = rounded_down(exact_average_certified_radius(run.radii, run.correct), 3)
    if state.plan.cell.sigma > 0:
        accuracy, seconds = exact_certified_accuracy(run.radii, run.correct, 0.0), run.seconds
    else:
        # No samples, no time that could be held against that of others.
        accuracy, seconds = run.clean_accuracy, None
    return [
        acr,
        UNKNOWN if accuracy is None else rounded_down(100 * accuracy, 2),
        UNKNOWN if seconds is None else f"{seconds:.3f}",
    ]


def _setting(state):
    """Returns how a cell was made, or why it is not in the table."""
    if state.differences:
        return "made with other settings, see below"
    if state.problem:
        return "not finished"
    if state.missing:
        done = 0 if state.run is None else len(state.run.records)
        return f"not finished, {done} of {done + state.missing} images" if done else "not made yet"
    parts = [
        f"{name} {value}"
        for name, value in state.plan.settings.items()
        if value is not None and (name in _ALWAYS or _is_changed(name, value))
    ]
    return f"{', '.join(parts)}; {len(state.run.records)} images, {state.run.certificates}"


def _is_changed(name, value):
    """Returns whether a setting is neither what the cell is nor, as the default, the paper's."""
    return name not in _OF_CELLS and value != flags.FLAGS[name].default
