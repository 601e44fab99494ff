"""Exports the model of a training run as the flags ask for, with what is known of the run."""

import json
import pathlib

import numpy as np
from absl import flags

from experiments import model_flags
from experiments.shared_flags import number_list
from export.saved_model import export_margin_model, export_saved_model
from export.version_changes import changes_from_version_before, versions_before
from lsrs_tf.evaluation import average_certified_radius, certified_accuracy
from lsrs_tf.models.fingerprints import fingerprint
from lsrs_tf.records.summary import UNKNOWN, read_run

# Flags of an export that mean nothing for margins alone.
_OF_SAMPLES = (
    "n0",
    "n",
    "alpha",
    "noise",
    "head_dtype",
    "predict_n",
    "max_n",
    "served_radii",
    "xla",
)


def export_run(model, run, directory, sigma):
    """Exports the model of a run as the flags ask for, and says where.

    Args:
        model: its `LatentSmoothingModel`.
        run: `RunDirectory`.
        directory: folder of all versions, or None for one in the folder of the run.
        sigma: float, or None for the model's.
    """
    flag = flags.FLAGS
    print("Tracing, writing and checking the export, which takes half a minute.", flush=True)
    # In the folder of the run the name of the run says more than that of its subfolder.
    name = None if directory else run.path.resolve().name
    directory = pathlib.Path(directory or (run.saved_model_xla if flag.xla else run.saved_model))
    if sigma is None and model.sigma == 0:
        version = _exported_margins(model, run, directory, name)
    else:
        version = _exported_samples(model, run, directory, name, sigma)
    print(about_versions_before(version), end="")
    for change in changes_from_version_before(version):
        print(f"Another version before it had {change}. A server moves all clients to the new one.")
    if flag.xla:
        print(
            "It is compiled by XLA: start the server with --xla_cpu_compilation_enabled=true, or "
            "on a GPU with --xla_gpu_compilation_enabled=true."
        )
    print(f"Wrote and checked {version}. It is described in {version}/assets.extra/model_card.md.")


def _exported_samples(model, run, directory, name, sigma):
    """Exports what takes samples and, if asked for, certify_margin; returns the version."""
    flag = flags.FLAGS
    sigma = float(np.float32(model.sigma if sigma is None else sigma))
    head_dtype = flag.head_dtype or UNKNOWN
    about = about_run(
        run,
        model,
        {
            "sigma": sigma,
            "noise": flag.noise,
            "head_dtype": head_dtype,
            "alpha": flag.alpha,
            # What an export certifies against.
            "against": "half",
        },
    )
    version = export_saved_model(
        model,
        directory,
        sigma=sigma,
        n0=flag.n0,
        n=flag.n,
        alpha=flag.alpha,
        batch_size=flag.certify_batch_size,
        noise=flag.noise,
        head_dtype=flag.head_dtype,
        predict_n=flag.predict_n,
        max_n=flag.max_n,
        radii=number_list("served_radii"),
        margin=flag.margin,
        resize=flag.resize,
        xla=flag.xla,
        name=name,
        about=about,
    )
    of_head = "" if flag.head_dtype is None else f", of the head cast to {flag.head_dtype}"
    print(
        f"Certificates: n0={flag.n0}, n={flag.n}, alpha={flag.alpha}, sigma={sigma}, "
        f"noise={flag.noise}{of_head}."
    )
    if flag.margin:
        print("In addition certify_margin: proofs for the base classifier, without noise.")
    return version


def _exported_margins(model, run, directory, name):
    """Exports the base classifier of a model without noise; returns the version."""
    refuse_flags_of_samples()
    version = export_margin_model(
        model,
        directory,
        resize=flags.FLAGS.resize,
        name=name,
        about=about_run(run, model, {"method": "margin"}),
    )
    print("The model has sigma=0: certify_margin, proofs for the base classifier, without samples.")
    return version


def refuse_flags_of_samples():
    """Raises if a flag is given that means nothing for an export without noise."""
    flag = flags.FLAGS
    given = [f"--{name}" for name in _OF_SAMPLES if flag[name].present]
    if given:
        raise ValueError(
            "A model with sigma=0 is exported for certificates by margins, which take no noisy "
            f"samples. Leave out {', '.join(given)}, or give a --sigma above 0."
        )


def about_versions_before(version):
    """Returns what to say of the older versions in the folder of a new one, empty without any.

    Args:
        version: `pathlib.Path` of the new version.
    """
    before = versions_before(version)
    if not before:
        return ""
    return (
        f"This is version {version.name}, which a server answers with from now on. Nothing was "
        f"overwritten: {_numbered(before)} in {version.parent}; remove what is not needed.\n"
    )


def _numbered(versions):
    if len(versions) == 1:
        return f"version {versions[0]} remains"
    return f"versions {', '.join(map(str, versions))} remain"


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
            name: settings[name] for name in model_flags.NAMES if settings.get(name) is not None
        },
    }
    if run.class_names.is_file():
        about["class_names"] = json.loads(run.class_names.read_text())
    if run.certified.is_file():
        measured = _measured(read_run(run.certified), fingerprint(model))
        if measured:
            same = all(
                measured["settings"].get(name, UNKNOWN) == str(value)
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
