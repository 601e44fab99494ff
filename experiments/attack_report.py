"""What the report says of certificates and attacks on the same images."""

import matplotlib.figure
import matplotlib.lines
import numpy as np

from experiments import image_sets
from lsrs_tf.evaluation.clever import CleverResult
from lsrs_tf.evaluation.metrics import certified_accuracy
from lsrs_tf.evaluation.sandwich import accuracy_under_attack, tightness
from lsrs_tf.evaluation.tables import markdown_table, rounded_down
from lsrs_tf.records.notation import examples
from lsrs_tf.records.summary import UNKNOWN


def unpaired_lines(found):
    """Returns a line for each `Sandwich` that leaves out images, with their numbers.

    Args:
        found: list of `Sandwich`.
    """
    return [
        f"{one.name}: of certificates and attacks together, "
        + "; ".join(
            f"{len(images)} images are left out that were {what}{examples(images)}"
            for what, images in one.unpaired.items()
        )
        + ".\n"
        for one in found
        if one.unpaired
    ]


def other_images_line(found):
    """Returns a line that says if the images of `Sandwich`es are not the same, or an empty text."""
    records = {one.name: [record for record, _ in one.pairs] for one in found}
    subject = "Certificates and attacks together are of"
    return image_sets.other_images_line(records, subject, "curve")


def sandwich_table(found):
    """Returns a Markdown table with a row for each `Sandwich`."""
    rows = []
    for one in found:
        distances = one.distances
        inside = one.contradictions()
        rows.append(
            [
                one.name,
                one.methods,
                str(len(one.pairs)),
                rounded_down(float(np.median(one.radii)), 3),
                _median_of_known(one.estimated),
                f"{np.median(distances):.3f}",
                str(int(np.isinf(distances).sum())),
                f"{tightness(one.radii, one.correct, distances):.3f}",
                f"{len(inside.images)} of {inside.trials}",
            ]
        )
    header = ["certificates", "attacks", "images", "median radius", f"median {CleverResult.column}"]
    header += ["median distance (upper bound)", "not found", "tightness", "inside a certificate"]
    return markdown_table(header, rows)


def _median_of_known(values):
    known = values[~np.isnan(values)]
    if not known.size:
        return UNKNOWN
    # Of some images only, the median would not be that of the images of the others.
    rest = "" if known.size == values.size else f" of {known.size}"
    return f"{np.median(known):.3f}{rest}"


def sandwich_rows(found):
    """Returns header and rows of a CSV file, one for each image."""
    header = ["run", "idx", "certified_radius", "clever_estimate", "attack_distance"]
    rows = [[*header, "changed_distance"]]
    for one in found:
        for (record, attacks), estimate in zip(one.pairs, one.estimated, strict=True):
            rows.append(
                [
                    one.name,
                    record.idx,
                    record.radius if record.correct else 0.0,
                    UNKNOWN if np.isnan(estimate) else estimate,
                    min(attack.distance for attack in attacks),
                    min(attack.changed_distance for attack in attacks),
                ]
            )
    return rows


def plot_sandwiches(found):
    """Draws certified accuracy, accuracy under attack, and the band between them.

    The legend is below, where it covers no curve. It says of how many images the curves of a run
    are: those that were certified and attacked, which may be other ones for each run.
    """
    kinds = {"certified": "-", "under attack": "--"}
    if any(map(_is_estimated, found)):
        kinds[CleverResult.column] = ":"
    lines = len(found) + len(kinds)
    figure = matplotlib.figure.Figure(figsize=(6.4, 3.8 + 0.24 * lines), layout="constrained")
    axes = figure.subplots()
    finite = [one.distances[np.isfinite(one.distances)] for one in found]
    end = 1.05 * max(0.1, *(max(part.max(initial=0), 0) for part in finite))
    grid = np.linspace(0, end, 501)
    entries = {f"{one.name}: {len(one.pairs)} images": _draw(axes, one, grid) for one in found}
    for kind, style in kinds.items():
        entries[kind] = matplotlib.lines.Line2D([], [], color="gray", linestyle=style)
    axes.set_xlabel("L2 radius (pixels in [0, 1])")
    axes.set_ylabel("accuracy (%)")
    axes.set_xlim(0, end)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", frameon=False)
    return figure


def _is_estimated(one):
    """Returns whether all images of a `Sandwich` have estimates."""
    return not np.isnan(one.estimated).any()


def _draw(axes, one, grid):
    """Draws a `Sandwich` at radii; returns what stands for it in a legend."""
    lower = [100 * certified_accuracy(one.radii, one.correct, at) for at in grid]
    upper = [100 * accuracy_under_attack(one.distances, at) for at in grid]
    (line,) = axes.plot(grid, lower)
    color = line.get_color()
    axes.plot(grid, upper, "--", color=color)
    if _is_estimated(one):
        axes.plot(
            grid, [100 * accuracy_under_attack(one.estimated, at) for at in grid], ":", color=color
        )
    return line, axes.fill_between(grid, lower, upper, color=color, alpha=0.15, lw=0)
