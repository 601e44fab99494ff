import dataclasses

ORTHOGONAL = "orthogonal"
ISOMETRIC = "isometric"
BOUNDED = "bounded"


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
    """

    bound: float
    kind: str
    method: str
    smallest_singular_value: float | None = None


def isometry(method):
    """Returns the bound of a layer that only moves values."""
    return LayerBound(1.0, ISOMETRIC, method, 1.0)
