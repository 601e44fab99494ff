import math
import random

import pytest

from lsrs_tf.evaluation import cost_front


def test_front_is_that_of_all_pairs():
    random.seed(0)
    for _ in range(200):
        names = range(random.randint(1, 8))
        costs = {name: random.randint(0, 4) for name in names}
        values = {name: random.randint(0, 4) for name in names}

        def surpassed(name, costs=costs, values=values):
            return any(
                costs[other] <= costs[name]
                and values[other] >= values[name]
                and (costs[other], values[other]) != (costs[name], values[name])
                for other in costs
            )

        front = cost_front(costs, values)
        assert sorted(front) == [name for name in names if not surpassed(name)]
        assert [costs[name] for name in front] == sorted(costs[name] for name in front)


def test_what_has_no_order_is_refused():
    assert cost_front({}, {}) == []
    with pytest.raises(ValueError, match="Each name needs a cost and a value.*costs of a, b"):
        cost_front({"a": 1, "b": 2}, {"a": 1})
    for costs, values in (({"a": math.nan}, {"a": 1}), ({"a": 1}, {"a": math.nan})):
        with pytest.raises(ValueError, match="those of a are NaN"):
            cost_front(costs, values)
