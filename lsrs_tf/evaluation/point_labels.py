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
# Half of the width of a marker, and what a line keeps free around itself, in pixels.
_MARKER, _LINE = 5.0, 2.0


def place_labels(
    axes: matplotlib.axes.Axes,
    points: Mapping[str, tuple[float, float]],
    lines: Sequence[tuple[float, float]] = (),
    size: float = 7.5,
) -> None:
    """Writes names next to points, each at the first place where it covers nothing.

    A name that finds no such place gets the one where it covers least. Names that are further away
    have a thin line to their point. The layout of the figure must be final.

    Args:
        axes: `matplotlib.axes.Axes` whose limits are set.
        points: dict of name to (x, y) in the units of the axes.
        lines: corners of a line that is not to be covered, (x, y) in the units of the axes.
        size: float, of the font, in points.
    """
    obstacles = [_marker(axes.transData.transform(point)) for point in points.values()]
    if len(lines):
        corners = axes.transData.transform(np.asarray(lines, float))
        for start, end in zip(corners[:-1], corners[1:], strict=True):
            obstacles.append(
                matplotlib.transforms.Bbox(
                    [np.minimum(start, end) - _LINE, np.maximum(start, end) + _LINE]
                )
            )
    # From the top, so that a crowd is taken apart in the order in which it is read.
    for name, point in sorted(points.items(), key=lambda entry: -entry[1][1]):
        obstacles.append(_placed(axes, name, point, obstacles, size))


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
            box = label.get_window_extent()
            covered = sum(_overlap(box, other) for other in obstacles)
            covered += 10 * (box.width * box.height - _overlap(box, axes.bbox))
            label.remove()
            if covered < least - 1e-6:
                least, best = covered, (side, distance)
        if least <= 1e-6:
            break
    # One of the places is always the best.
    assert best is not None
    return _label(axes, name, point, *best, size).get_window_extent()


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


def _marker(centre: NDArray[np.floating]) -> matplotlib.transforms.Bbox:
    return matplotlib.transforms.Bbox([centre - _MARKER, centre + _MARKER])


def _overlap(first: matplotlib.transforms.Bbox, second: matplotlib.transforms.BboxBase) -> float:
    """Returns the area that two boxes share."""
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return max(width, 0.0) * max(height, 0.0)
