"""Names next to the points of a picture, placed where they cover nothing."""

from collections.abc import Mapping, Sequence

import matplotlib.axes
import matplotlib.text
import matplotlib.transforms
import numpy as np
from numpy.typing import NDArray

# Where a label stands seen from its point: offsets in points, and how the text is aligned.
_SIDES = (
    (1, 0, "left", "center"),
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (-1, 0, "right", "center"),
    (0.7, 0.7, "left", "bottom"),
    (0.7, -0.7, "left", "top"),
    (-0.7, 0.7, "right", "bottom"),
    (-0.7, -0.7, "right", "top"),
)
_DISTANCES = (7, 14, 22, 32, 44)
# Half of the width of a marker, and what a line keeps free around itself, in points.
_MARKER, _LINE = 3.8, 1.5
# Text is wider or narrower at another resolution.
_TEXT = 1.04


def place_labels(
    axes: matplotlib.axes.Axes,
    points: Mapping[str, tuple[float, float]],
    lines: Sequence[tuple[float, float]] = (),
    size: float = 7.5,
) -> None:
    """Writes names next to points, each at the first place where it covers nothing.

    A name that finds no such place gets the one where it covers least. Names that are further away
    have a thin line to their point; names of the same point are one below the other. The layout of
    the figure must be final.

    Args:
        axes: `matplotlib.axes.Axes` whose limits are set.
        points: dict of name to (x, y) in the units of the axes.
        lines: corners of a line that is not to be covered, (x, y) in the units of the axes.
        size: float, of the font, in points.
    """
    pixels = axes.figure.dpi / 72
    obstacles = [
        _square(axes.transData.transform(point), pixels * _MARKER) for point in points.values()
    ]
    if len(lines):
        corners, reach = axes.transData.transform(np.asarray(lines, float)), pixels * _LINE
        for start, end in zip(corners[:-1], corners[1:], strict=True):
            obstacles.append(
                matplotlib.transforms.Bbox(
                    [np.minimum(start, end) - reach, np.maximum(start, end) + reach]
                )
            )
    names_of: dict[tuple[float, float], list[str]] = {}
    for name, point in points.items():
        names_of.setdefault(point, []).append(name)
    # From the top, so that a crowd is taken apart in the order in which it is read.
    for point, names in sorted(names_of.items(), key=lambda entry: -entry[0][1]):
        obstacles.append(_placed(axes, "\n".join(names), point, obstacles, size))


def _placed(
    axes: matplotlib.axes.Axes,
    name: str,
    point: tuple[float, float],
    obstacles: Sequence[matplotlib.transforms.Bbox],
    size: float,
) -> matplotlib.transforms.Bbox:
    """Writes one name, and returns the box that it covers."""
    least, best = np.inf, None
    for distance in _DISTANCES:
        for side in _SIDES:
            label = _label(axes, name, point, side, distance, size)
            box = _box_of(label)
            covered = sum(_overlap(box, other) for other in obstacles)
            covered += 10 * (box.width * box.height - _overlap(box, axes.bbox))
            label.remove()
            if covered < least - 1e-6:
                least, best = covered, (side, distance)
        if least <= 1e-6:
            break
    # One of the places is always the best.
    assert best is not None
    return _box_of(_label(axes, name, point, *best, size))


def _label(
    axes: matplotlib.axes.Axes,
    name: str,
    point: tuple[float, float],
    side: tuple[float, float, str, str],
    distance: float,
    size: float,
) -> matplotlib.text.Annotation:
    across, up, horizontal, vertical = side
    far = distance > _DISTANCES[1]
    label = axes.annotate(
        name,
        point,
        xytext=(across * distance, up * distance),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        fontsize=size,
        arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.6} if far else None,
    )
    # Placed after the layout, which it is not to change.
    label.set_in_layout(False)
    return label


def _box_of(label: matplotlib.text.Annotation) -> matplotlib.transforms.Bbox:
    """Returns the box of a text, without the line to its point."""
    label.update_positions(label.figure.canvas.get_renderer())
    return matplotlib.text.Text.get_window_extent(label).expanded(_TEXT, _TEXT)


def _square(centre: NDArray[np.floating], reach: float) -> matplotlib.transforms.Bbox:
    return matplotlib.transforms.Bbox([centre - reach, centre + reach])


def _overlap(first: matplotlib.transforms.Bbox, second: matplotlib.transforms.BboxBase) -> float:
    """Returns the area that two boxes share."""
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return max(width, 0.0) * max(height, 0.0)
