import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from lsrs_tf.lipschitz.evaluation import Evaluation
from lsrs_tf.lipschitz.linear_maps import LinearMap

ORTHOGONAL = "orthogonal"
ISOMETRIC = "isometric"
BOUNDED = "bounded"

# Of the least and the largest value of an input, for those of an output.
Interval: TypeAlias = Callable[[float, float], tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class LayerBound:
    """What is proven about one layer.

    Attributes:
        bound: float, an upper bound of its Lipschitz constant in the L2 norm.
        kind: 'orthogonal' (parametrized so that all its singular values are 1), 'isometric' (by its
            nature it keeps norms, or those of gradients, as sorting does) or 'bounded'.
        method: str, how the bound was found.
        smallest_singular_value: float, of a linear layer with as many values as the smaller of
            inputs and outputs, or of the Jacobian where that is constant; None if it is not known.
            It is a measurement, not a bound.
        evaluation: `Evaluation`, what float64 arithmetic does in the layer.
        linear_map: `LinearMap` of the layer, without its activation, to be folded with those of its
            neighbours; None for a layer that is not linear, or whose map is not written down.
        slope: float, Lipschitz constant of the activation after the linear map, or None if there is
            no activation.
        interval: function of the least and the largest value of an input, for those of an output;
            None if they are not known.

    Examples:
        >>> LayerBound(bound=0.5, kind="bounded", method="factor").bound
        0.5
    """

    bound: float
    kind: str
    method: str
    smallest_singular_value: float | None = None
    evaluation: Evaluation = Evaluation(relative=math.inf)
    linear_map: LinearMap | None = None
    slope: float | None = None
    interval: Interval | None = None


def isometry(method: str) -> LayerBound:
    """Returns the bound of a layer that only moves values."""
    return LayerBound(
        1.0, ISOMETRIC, method, 1.0, evaluation=Evaluation(), interval=lambda low, high: (low, high)
    )


def selection(bound: float, method: str) -> LayerBound:
    """Returns the bound of a layer that selects and repeats values, exactly."""
    return LayerBound(bound, BOUNDED, method, evaluation=Evaluation(lipschitz=bound))


def affine_interval(factors: ArrayLike, shifts: ArrayLike) -> Interval:
    """Returns the function of `LayerBound.interval` of a layer `factor * x + shift`.

    Args:
        factors: number, or one for each channel.
        shifts: number, or one for each channel.
    """

    def interval(low: float, high: float) -> tuple[float, float]:
        ends = np.array([np.multiply(factors, end) + np.asarray(shifts) for end in (low, high)])
        # Wider than any rounding, that of the factors to float32 included.
        margin = 1e-6 * (np.abs(ends).max() + np.max(np.abs(shifts)))
        return float(ends.min() - margin), float(ends.max() + margin)

    return interval
