import dataclasses
from typing import Self

from lsrs_tf.lipschitz.layer_bound import LayerBound
from lsrs_tf.progress import progress

# Bounds that take fewer seconds show no progress.
_SHOWN_AFTER = 10


@dataclasses.dataclass(frozen=True)
class ReportRow:
    """One line of a `lipschitz_report`.

    Attributes:
        name: str, the layer's name behind those of the layers that contain it, separated by '/'.
        layer_bound: LayerBound.
    """

    name: str
    layer_bound: LayerBound


class ReportRows:
    """The rows of a report while they are found, with progress for what takes long."""

    def __init__(self) -> None:
        self._rows: list[ReportRow] = []
        self._progress = progress(desc="bound", unit="layer", delay=_SHOWN_AFTER, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.close()

    def add(self, name: str, layer_bound: LayerBound) -> None:
        """Adds a row; see `ReportRow`."""
        self._rows.append(ReportRow(name, layer_bound))
        self._progress.update()

    def found(self) -> tuple[ReportRow, ...]:
        """Returns the tuple of `ReportRow`."""
        return tuple(self._rows)


@dataclasses.dataclass(frozen=True, repr=False)
class LipschitzReport:
    """What is proven about an encoder, layer by layer; `str` makes a table of it.

    Attributes:
        rows: tuple of ReportRow, in the order of the layers.
        bound: float, the bound of the whole.
        rounding_error: float, bound of the L2 norm of what float64 arithmetic may change in the
            latent of an image with pixels in [0, 1]; infinite where sizes are unknown.
    """

    rows: tuple[ReportRow, ...]
    bound: float
    rounding_error: float

    def __repr__(self) -> str:
        """Returns the table, so that a notebook shows it."""
        return str(self)

    def __str__(self) -> str:
        """Returns a table; bounds are rounded up."""
        width = max([len(row.name) for row in self.rows] + [len("layer")])
        lines = [f"{'layer':<{width}}  {'kind':<10}  {'bound':<17}  {'smallest':<10}  method"]
        for row in self.rows:
            proven = row.layer_bound
            value = proven.smallest_singular_value
            smallest = "-" if value is None else f"{value:.6f}"
            lines.append(
                f"{row.name:<{width}}  {proven.kind:<10}  {printed_up(proven.bound):<17}  "
                f"{smallest:<10}  {proven.method}"
            )
        lines.append(f"{'whole':<{width}}  {'':<10}  {printed_up(self.bound)}")
        return "\n".join(lines)


def printed_up(bound: float) -> str:
    """Returns a bound with 12 decimals, rounded up."""
    text = f"{bound:.12f}"
    return text if float(text) >= bound else f"{bound + 1e-12:.12f}"
