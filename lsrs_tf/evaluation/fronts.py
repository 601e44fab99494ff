"""Which models nothing else is as good as for their cost."""

import math
from collections.abc import Mapping


def cost_front(costs: Mapping[str, float], values: Mapping[str, float]) -> list[str]:
    """Returns the names that no other one surpasses: the Pareto front of value against cost.

    A name is left out if another one has at least its value at a lower cost, or a higher value at
    no more than its cost. Equal ones stay together.

    Args:
        costs: dict of name to float, the smaller the better.
        values: dict of the same names to float, the larger the better.

    Returns:
        List of names, cheapest first.

    Raises:
        ValueError: if the names differ, or a number is NaN.

    Examples:
        >>> costs = {"small": 1e6, "middle": 2e7, "large": 1e9}
        >>> cost_front(costs, {"small": 0.2, "middle": 0.1, "large": 0.5})
        ['small', 'large']
    """
    if set(costs) != set(values):
        raise ValueError(
            "Each name needs a cost and a value. Received: costs of "
            f"{', '.join(sorted(costs))}, and values of {', '.join(sorted(values))}."
        )
    unknown = [name for name in costs if math.isnan(costs[name]) or math.isnan(values[name])]
    if unknown:
        raise ValueError(
            f"Costs and values must be numbers; those of {', '.join(unknown)} are NaN. Leave the "
            "names out."
        )
    front: list[str] = []
    best: tuple[float, float] | None = None
    for name in sorted(costs, key=lambda name: (costs[name], -values[name])):
        point = costs[name], values[name]
        if best is None or point[1] > best[1] or point == best:
            front.append(name)
            best = point
    return front
