import math


def number_of_values(shape):
    """Returns the number of values of one image in a shape with the batch dimension.

    Args:
        shape: tuple; None for unknown sizes.

    Returns:
        int, or infinity if a size is unknown.
    """
    return math.inf if None in shape[1:] else math.prod(shape[1:])
