import math

import pytest

from lsrs_tf.evaluation import plot_cost_front

COSTS = {"a": 1e6, "b": 1e8, "c": 1e9, "d": 1e9}
RADII = {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.5}


def _lines(axes):
    front, *points = axes.get_lines()
    return front, points


def test_front_is_drawn_in_steps_and_filled():
    figure = plot_cost_front(COSTS, {"radius": RADII, "accuracy": dict.fromkeys(COSTS, 50.0)})
    radius, accuracy = figure.axes
    assert radius.get_xscale() == "log" and radius.get_ylabel() == "radius"
    front, points = _lines(radius)
    assert list(zip(*front.get_data(), strict=True)) == [
        (1e6, 0.1), (1e8, 0.1), (1e8, 0.3), (1e9, 0.3), (1e9, 0.5), (3e9, 0.5),
    ]  # fmt: skip
    hollow = [point.get_markerfacecolor() == "white" for point in points]
    assert hollow == [False, False, True, False]
    # The cheapest one has what all have.
    front, _ = _lines(accuracy)
    assert list(front.get_xdata()) == [1e6, 3e9]


def test_labels_cover_neither_each_other_nor_points():
    names = [f"LS-RS {index}/18, sigma 0.25" for index in range(9)]
    costs = {name: 1e9 * 1.3**index for index, name in enumerate(names)}
    values = {name: 0.2 + 0.01 * index for index, name in enumerate(names)}
    figure = plot_cost_front(costs, {"radius": values})
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == names[::-1]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        for name in names:
            assert not box.contains(*axes.transData.transform((costs[name], values[name])))


def test_kinds_have_their_markers_and_a_legend():
    kinds = {"a": "margin", "b": "LS-RS", "c": "IS-RS", "d": "IS-RS"}
    figure = plot_cost_front(COSTS, {"radius": RADII}, kinds)
    _, points = _lines(figure.axes[0])
    assert len({point.get_marker() for point in points}) == 3
    assert points[2].get_marker() == points[3].get_marker()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:3] == ["IS-RS", "LS-RS", "margin"]
    # In any picture, so that they can be compared.
    alone = plot_cost_front({"a": 5.0}, {"radius": {"a": 1.0}}, {"a": "margin"})
    _, (point,) = _lines(alone.axes[0])
    found, expected = ((one.get_marker(), one.get_color()) for one in (point, points[0]))
    assert found == expected
    assert alone.legends[0].get_texts()[0].get_text() == "margin"


def test_many_equal_points_and_long_names_can_be_drawn(tmp_path):
    names = [f"run {index} of {'a long name ' * 10}" for index in range(20)]
    figure = plot_cost_front(dict.fromkeys(names, 5.0), {"radius": dict.fromkeys(names, 0.0)})
    figure.savefig(tmp_path / "plot.png")
    (text,) = figure.axes[0].texts
    assert text.get_text().splitlines() == names


@pytest.mark.parametrize("cost", [0.0, -1.0, math.inf, math.nan])
def test_cost_without_a_logarithm_is_refused(cost):
    with pytest.raises(ValueError, match="finite number above 0"):
        plot_cost_front({"a": cost}, {"radius": {"a": 1.0}})


def test_nothing_cannot_be_drawn():
    with pytest.raises(ValueError, match="at least one cost"):
        plot_cost_front({}, {"radius": {}})
    with pytest.raises(ValueError, match="and values"):
        plot_cost_front({"a": 1.0}, {})
