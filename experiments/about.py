"""What is known of a training run, for the card of its export."""

import json

import numpy as np

from lsrs_tf.evaluation.metrics import average_certified_radius, certified_accuracy
from lsrs_tf.models.fingerprint import fingerprint
from lsrs_tf.records.summary import read_run

_ARCHITECTURE = ("model", "orthogonal_layers", "width", "widen_factor", "parametrization")


def about_run(run, model, settings_of_export):
    """Returns what the card of an export is to tell of a run.

    Args:
        run: `RunDirectory` of the model.
        model: `LatentSmoothingModel`; measurements of another model are left out.
        settings_of_export: dict of setting to value; measurements with others are marked as such.

    Returns:
        dict of JSON values.
    """
    settings = run.settings()
    about = {
        "dataset": settings["dataset"],
        "architecture": {
            name: settings[name] for name in _ARCHITECTURE if settings.get(name) is not None
        },
    }
    if run.class_names.is_file():
        about["class_names"] = json.loads(run.class_names.read_text())
    if run.certified.is_file():
        measured = _measured(read_run(run.certified), fingerprint(model))
        if measured:
            same = all(
                measured["settings"].get(name) == str(value)
                for name, value in settings_of_export.items()
            )
            about["measured" if same else "measured_with_other_settings"] = measured
    return about


def _measured(certified, model):
    """Returns the figures of a certification file, or None if they are of another model."""
    settings = certified.records[0].settings
    if settings.get("model") != model:
        return None
    radii, correct = certified.radii, certified.correct
    grid = np.arange(0, radii.max() + 0.25, 0.25)
    figures = {
        "images": len(radii),
        "certified_accuracy": {
            f"{at:.2f}": certified_accuracy(radii, correct, at) for at in grid.tolist()
        },
        "average_certified_radius": average_certified_radius(radii, correct),
        "abstained": float(np.mean([record.predict == -1 for record in certified.records])),
        "settings": settings,
    }
    if certified.clean_accuracy is not None:
        figures["clean_accuracy"] = float(certified.clean_accuracy)
    return figures
