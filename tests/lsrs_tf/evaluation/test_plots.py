import numpy as np

from lsrs_tf.evaluation import plot_certified_accuracy, plot_class_probabilities


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
    # A band of the choice of images around each curve.
    assert len(axes.collections) == 2
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_abstentions_alone_can_be_drawn():
    figure = plot_certified_accuracy({"none": (np.zeros(3), np.zeros(3, bool))})
    assert figure.axes[0].get_lines()[0].get_ydata().max() == 0


def test_class_probabilities_are_counted():
    figure = plot_class_probabilities({"a": np.array([0.1, 0.9, 0.91, 1.0])})
    (outline,) = figure.axes[0].patches
    assert outline.get_xy()[:, 1].max() == 2
