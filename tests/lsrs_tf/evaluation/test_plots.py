import numpy as np

from lsrs_tf.evaluation.plots import plot_certified_accuracy


def test_curves_are_certified_accuracy(tmp_path):
    radii, correct = np.array([0.5, 1.0, 0.0, 0.2]), np.array([True, True, False, True])
    figure = plot_certified_accuracy({"first": (radii, correct), "second": (radii / 2, correct)})
    (axes,) = figure.axes
    first, second = axes.get_lines()
    at, accuracy = first.get_data()
    assert accuracy[0] == 75
    assert accuracy[np.searchsorted(at, 0.6)] == 25
    assert accuracy[-1] == 0
    assert second.get_label() == "second"
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_abstentions_alone_can_be_drawn():
    figure = plot_certified_accuracy({"none": (np.zeros(3), np.zeros(3, bool))})
    assert figure.axes[0].get_lines()[0].get_ydata().max() == 0
