"""Whether a record of a certificate by margins follows from its own logits."""

import math

import numpy as np

from lsrs_tf.records.notation import written_radius
from lsrs_tf.records.schema import MARGIN_COLUMNS, Record
from lsrs_tf.statistics.margin_scale import largest

# By how much a margin may differ, relatively to the logits, and a radius, relatively to itself:
# far more than what other processors round differently, and nothing that anyone would notice.
_TOLERANCE = 1e-12
_RADIUS_TOLERANCE = 1e-8


def check_margin(record: Record) -> None:
    """Raises if label, rival, margin or radius are not those of the logits.

    Args:
        record: `Record` with the columns of margins.

    Raises:
        ValueError: if it was damaged or edited.
    """
    values = {name: record.value(name) for name in (*MARGIN_COLUMNS, "radius_loss", "lipschitz")}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ValueError(f"a row of --method=margin needs a value in column {missing[0]}")
    if values["radius_loss"] < 0:
        raise ValueError(f"column radius_loss must be at least 0; received {values['radius_loss']}")
    logits, label = values["logits"], record.predict
    if len(logits) < 2 or max(label, values["rival"]) >= len(logits):
        raise ValueError(
            f"it has {len(logits)} logits, and names classes {label} and {values['rival']}"
        )
    if label == -1:
        if record.radius != 0:
            raise ValueError(f"it abstains, but claims radius {record.radius:.9g}")
        return
    if label != largest(logits):
        raise ValueError(f"class {label} is not that of the largest of its logits")
    _check_radius(record, values)


def _check_radius(record, values):
    logits, label, rival = values["logits"], record.predict, values["rival"]
    if rival in (-1, label):
        raise ValueError(f"class {rival} cannot be the rival of class {label}")
    margin = logits[label] - logits[rival]
    slack = _TOLERANCE * (abs(logits[label]) + abs(logits[rival]))
    if not math.isclose(margin, values["margin"], rel_tol=0.0, abs_tol=slack):
        raise ValueError(
            f"its logits have margin {margin:.9g} to class {rival}, but it claims "
            f"{values['margin']:.9g}"
        )
    # No pair of classes is further apart than sqrt(2) times the constant of the whole.
    most = math.sqrt(2) * values["lipschitz"] * (1 + _TOLERANCE)
    if not 0 < values["pair_lipschitz"] <= max(most, np.finfo(np.float64).tiny):
        raise ValueError(
            f"column pair_lipschitz must lie above 0 and be at most sqrt(2) times lipschitz, "
            f"{most:.9g}; received {values['pair_lipschitz']:.9g}"
        )
    allowed = (margin + slack - values["radius_loss"]) / values["pair_lipschitz"]
    # Written with six decimals, a radius above 0 may be 0.
    if not record.radius <= allowed * (1 + _RADIUS_TOLERANCE):
        raise ValueError(
            f"margin {margin:.9g} proves radius {written_radius(max(0.0, allowed))} at most, but "
            f"it claims {record.radius:.9g}"
        )
