"""The picture of what a certificate is worth against what it costs."""

import math
from collections.abc import Iterable, Mapping

import matplotlib.axes
import matplotlib.figure
import matplotlib.lines
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lsrs_tf.evaluation.fronts import cost_front
from lsrs_tf.evaluation.point_labels import place_labels

# The defenses of certification files.
_KINDS = ("IS-RS", "LS-RS", "margin")
_MARKERS = "osD^vP"
# Pixels in an inch: labels are placed for it, and fit best where a picture is saved at it.
_RESOLUTION = 150
# Factor of the costs that is left free on both sides, and share of the values above and below.
_COST_MARGIN, _VALUE_MARGIN = 3.0, 0.12


def plot_cost_front(
    costs: Mapping[str, float],
    values: Mapping[str, Mapping[str, float]],
    kinds: Mapping[str, str] | None = None,
) -> matplotlib.figure.Figure:
    """Draws values of models against the cost of a certificate, with the Pareto front.

    One labelled point is a model. Models that no other one surpasses are filled, the others hollow;
    the line is the best that can be had for at most a cost.

    Args:
        costs: dict of name to float, multiply-adds of a certificate, above 0.
        values: dict of what is measured, which is written at the axis, to dict of the same names to
            float; one panel each.
        kinds: dict of name to what kind of model it is, for colors and a legend; or None.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if there is no name, a cost is not a finite number above 0, or names differ.

    Examples:
        >>> costs, radii = {"LS-RS": 1e9, "IS-RS": 2e9}, {"LS-RS": 0.4, "IS-RS": 0.5}
        >>> figure = evaluation.plot_cost_front(costs, {"average certified radius": radii})
        >>> figure.axes[0].get_xscale()
        'log'
    """
    wrong = [name for name, cost in costs.items() if not (math.isfinite(cost) and cost > 0)]
    if wrong or not costs or not values:
        raise ValueError(
            "A plot on a logarithmic scale needs at least one cost, each of them a finite number "
            f"above 0, and values. Received: {dict(costs)!r}"
        )
    kinds = dict.fromkeys(costs, "") if kinds is None else kinds
    figure = matplotlib.figure.Figure(
        figsize=(5.6 * len(values), 4.4), layout="constrained", dpi=_RESOLUTION
    )
    panels = figure.subplots(1, len(values), squeeze=False)[0]
    corners = [
        _draw(axes, costs, one, label, kinds)
        for axes, (label, one) in zip(panels, values.items(), strict=True)
    ]
    _add_legend(figure, kinds, costs)
    # Labels are placed in the final layout.
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, one, line in zip(panels, values.values(), corners, strict=True):
        place_labels(axes, {name: (costs[name], one[name]) for name in costs}, line)
    return figure


def _draw(
    axes: matplotlib.axes.Axes,
    costs: Mapping[str, float],
    values: Mapping[str, float],
    label: str,
    kinds: Mapping[str, str],
) -> list[tuple[float, float]]:
    """Draws one panel without its labels, and returns the corners of the front."""
    front = cost_front(costs, values)
    end = max(costs.values()) * _COST_MARGIN
    corners = _corners([(costs[name], values[name]) for name in front], end)
    axes.plot(*zip(*corners, strict=True), color="0.55", linewidth=1.2, zorder=1)
    order = _order_of(kinds.values())
    for name, cost in costs.items():
        index = order.index(kinds[name])
        color = f"C{index % 10}"
        axes.plot(
            cost,
            values[name],
            _MARKERS[index % len(_MARKERS)],
            color=color,
            markerfacecolor=color if name in front else "white",
            markersize=6.5,
            zorder=2,
        )
    axes.set_xscale("log")
    axes.set_xlim(min(costs.values()) / _COST_MARGIN, end)
    least, most = min(values.values()), max(values.values())
    margin = _VALUE_MARGIN * (most - least) or 0.1 * (abs(most) or 1.0)
    axes.set_ylim(max(least - margin, -margin / 2) if least >= 0 else least - margin, most + margin)
    axes.set_xlabel("multiply-adds of a certificate")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    return corners


def _order_of(kinds: Iterable[str]) -> list[str]:
    """Returns kinds in the order of their colors; those of this package have theirs anywhere."""
    return [*_KINDS, *sorted({*kinds} - {*_KINDS})]


def _corners(points: list[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Returns the corners of the steps from point to point, cheapest first, and on to the end."""
    corners: list[tuple[float, float]] = []
    for cost, value in points:
        if corners:
            corners.append((cost, corners[-1][1]))
        corners.append((cost, value))
    return [*corners, (end, corners[-1][1])]


def _add_legend(
    figure: matplotlib.figure.Figure, kinds: Mapping[str, str], costs: Mapping[str, float]
) -> None:
    present = {kinds[name] for name in costs}
    handles = [
        matplotlib.lines.Line2D(
            [],
            [],
            linestyle="",
            marker=_MARKERS[index % len(_MARKERS)],
            color=f"C{index % 10}",
            label=kind,
        )
        for index, kind in enumerate(_order_of(kinds.values()))
        if kind in present and kind
    ]
    handles.append(
        matplotlib.lines.Line2D([], [], color="0.55", label="best for at most this cost (filled)")
    )
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False)
