"""Whether the columns of a record agree with each other."""

import numpy as np

from lsrs_tf.records import reading
from lsrs_tf.smoothing.recertification import recertified

# What a certificate of a fixed number of samples follows from.
_NEEDED = {"n0", "n", "alpha", "sigma", "lipschitz", "p_lower", "selection_counts", "counts"}
# Radii are written with six places, and another SciPy may round the last one differently.
_TOLERANCE = 2e-6


def check_record(record, path):
    """Raises if what a record claims does not follow from its own votes.

    Records of other packages, which hold no votes, are taken as they are.

    Args:
        record: `reading.Record`.
        path: its file, for the message.

    Raises:
        ValueError: if it was damaged or edited.
    """
    if not set(record.extra) >= _NEEDED:
        return
    try:
        selection, counts = reading.votes_of(record)
        n0, n = int(record.extra["n0"]), int(record.extra["n"])
        float(record.extra["p_lower"])
        _check_votes(selection, counts, n0, n)
        _check_radius(record, selection, counts, n)
    except ValueError as error:
        raise ValueError(
            f"The row of image {record.idx} in {path} is damaged: {error}. Remove the row; the "
            "image will be certified again when certification resumes."
        ) from error


def _check_votes(selection, counts, n0, n):
    if len(selection) != len(counts):
        raise ValueError(f"{len(selection)} and {len(counts)} classes have votes")
    for votes, samples in ((selection, n0), (counts, n)):
        if (votes < 0).any() or votes.sum() > samples:
            raise ValueError(f"votes {votes.tolist()} cannot come from {samples} samples")


def _check_radius(record, selection, counts, n):
    extra = record.extra
    if extra.get("method", "fixed") == "fixed":
        label, radius, _ = recertified(
            selection,
            counts,
            n,
            *(float(extra[name]) for name in ("alpha", "sigma", "lipschitz")),
            float(extra.get("radius_loss", 0.0)),
            extra.get("against", "half"),
        )
        if record.radius > radius + _TOLERANCE or record.predict not in (label, -1):
            raise ValueError(
                f"its votes prove radius {radius:.6f} of class {label}, not {record.radius} of "
                f"class {record.predict}"
            )
    elif record.predict not in (int(np.argmax(selection)), -1):
        raise ValueError(f"its votes did not select class {record.predict}")
    elif extra.get("target_radii", "-") != "-":
        targets = [float(reading.rounded_down(r)) for r in extra["target_radii"].split(",")]
        if record.radius not in (0.0, *targets):
            raise ValueError(f"radius {record.radius} is not one of its target radii")
