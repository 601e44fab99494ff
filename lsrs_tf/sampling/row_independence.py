"""Whether a head computes every row of a batch by itself, and twice the same.

Votes are counted over many rows at once: a head that lets rows influence each other, or that draws
random numbers, would vote otherwise than the one function of a latent that a certificate is about.
"""

import itertools

import numpy as np
import tensorflow as tf

from lsrs_tf.numerics import precision

# Each row is replaced in half of so many passes. Rows with different halves are told apart in both
# directions: each is kept in a pass that replaces the other.
_SPLITS = 6
_HALVES = list(itertools.combinations(range(_SPLITS), _SPLITS // 2))
# What rows are replaced by: others like them, zeros (which fill incomplete passes), and values so
# large that a hundred thousandth of their mean shows.
_REPLACEMENTS = ("fresh", "zeros", "large")
_LARGE = 1e4
# For heads that mix rows only where their own values are large.
_SCALE_OF_LARGE_ROWS = 1e3
# Rows that keep their place give bit-equal logits wherever the same batch does so twice. A row in
# another place may be summed in another order: by up to 6e-7 of the standard deviation of the
# logits in float32, and by a rounding in half precision or TF32. (On an H100 with TF32 logits of
# one ResNet18 moved by 6e-4 of it.)
_TOLERANCE, _TOLERANCE_TF32, _TOLERANCE_HALF = 1e-4, 2.0**-8, 2.0**-5

_CONSEQUENCE = (
    "Votes would not be those of one function of a latent, and certificates would mean nothing."
)


def checked_num_classes(head, latent_shape, rows):
    """Returns the number of classes of a head, or raises if its rows are not independent.

    It takes thirteen passes of the head: in most of them half of the rows are replaced, and the
    logits of the other half must not change.

    Args:
        head: Keras layer or model from latents to logits [rows, classes].
        latent_shape: tuple, the shape of one latent.
        rows: int, rows of a pass.

    Returns:
        int.

    Raises:
        ValueError: if the head does not take such latents, does not give [rows, classes], gives
            other logits for the same latents, or logits that depend on the other rows or on the
            place in the batch.
    """
    logits_of = _logits_function(head, latent_shape, rows)
    seeds = itertools.count()

    def normal():
        return tf.random.stateless_normal([rows, *latent_shape], seed=[next(seeds), 0]).numpy()

    latents = normal()
    logits = logits_of(latents)
    again = logits_of(latents)
    exact = np.array_equal(logits, again, equal_nan=True)
    tolerance = _tolerance(head)
    if not _alike(logits, again, tolerance):
        raise ValueError(
            "The head gives other logits for the same latents when it is asked again. "
            f"{_CONSEQUENCE} Use a head without randomness at inference: dropout and noise must "
            f"follow `training`. {_received(logits, again)}"
        )
    order = np.random.default_rng(0).permutation(rows)
    moved = logits_of(latents[order])
    if not _alike(logits[order], moved, tolerance):
        _refuse(logits[order], moved)
    kept = _kept_rows(rows)
    allowed = 0.0 if exact else tolerance
    for split, keep in enumerate(kept):
        other = _replacement(_REPLACEMENTS[split % len(_REPLACEMENTS)], normal())
        _check_kept(logits_of, latents, logits, keep, other, allowed)
    large = _SCALE_OF_LARGE_ROWS * latents
    logits_of_large = logits_of(large)
    moved = logits_of(large[order])
    if not _alike(logits_of_large[order], moved, tolerance):
        _refuse(logits_of_large[order], moved)
    # Whatever the distance between two rows, for some of them this differs.
    parity = np.array([row.bit_count() % 2 == 1 for row in range(rows)])
    for keep in (parity, ~parity):
        other = _SCALE_OF_LARGE_ROWS * normal()
        _check_kept(logits_of, large, logits_of_large, keep, other, allowed)
    return logits.shape[1]


def _logits_function(head, latent_shape, rows):
    """Returns the head as a function of NumPy arrays of so many latents, its output checked."""
    function = tf.function(lambda latents: head(latents, training=False), autograph=False)
    try:
        concrete = function.get_concrete_function(tf.TensorSpec([rows, *latent_shape]))
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(
            f"The head does not take what the encoder gives, latents of shape {latent_shape}: "
            f"{error}"
        ) from error
    logits = concrete.structured_outputs
    if not isinstance(logits, tf.TensorSpec | tf.Tensor):
        raise ValueError(
            "The head must have one output, the logits [batch, classes]. Received: "
            f"{type(logits).__name__}."
        )
    if logits.shape.rank != 2 or logits.shape[0] not in (rows, None) or logits.shape[1] is None:
        raise ValueError(_shape_message(tuple(logits.shape), rows))

    def logits_of(latents):
        logits = concrete(tf.constant(latents)).numpy()
        if logits.shape[0] != rows or logits.shape[1] < 2:
            raise ValueError(_shape_message(logits.shape, rows))
        return logits.astype(np.float64)

    return logits_of


def _shape_message(shape, rows):
    return (
        "The head must map latents to logits [batch, classes] with at least two classes. "
        f"Received: shape {shape} for a batch of {rows}."
    )


def same_but_for_rounding(head, expected, found):
    """Returns whether logits are equal but for how a head rounds in other graphs and places.

    Args:
        head: Keras layer or model.
        expected: float array [rows, classes].
        found: float array of the same shape.
    """
    return _alike(expected, found, _tolerance(head))


def _tolerance(head):
    """Returns by how much logits may differ in another place, in their standard deviations."""
    if is_half(head):
        return _TOLERANCE_HALF
    return _TOLERANCE_TF32 if precision.tf32_is_used() else _TOLERANCE


def is_half(head):
    """Returns whether a layer of a head computes in half precision."""
    return any(
        layer.compute_dtype in ("bfloat16", "float16")
        for layer in getattr(head, "_flatten_layers", lambda: [head])()
    )


def _kept_rows(rows):
    """Returns which rows each split keeps, bool array [splits, rows]."""
    halves = np.random.default_rng(0).permutation(np.resize(np.arange(len(_HALVES)), rows))
    kept = np.zeros([_SPLITS, rows], bool)
    for row, half in enumerate(halves):
        kept[list(_HALVES[half]), row] = True
    return kept


def _replacement(kind, normal):
    if kind == "zeros":
        return np.zeros_like(normal)
    return _LARGE * (1 + np.abs(normal)) if kind == "large" else normal


def _check_kept(logits_of, latents, logits, keep, other, allowed):
    """Raises if the logits of kept rows change where the rest is replaced by other latents."""
    expanded = keep.reshape(-1, *[1] * (latents.ndim - 1))
    found = logits_of(np.where(expanded, latents, other))[keep]
    if not _alike(logits[keep], found, allowed):
        _refuse(logits[keep], found)


def _refuse(expected, found):
    raise ValueError(
        "The logits of a latent depend on what else is in the batch, or on its place there. "
        f"{_CONSEQUENCE} Use a head whose rows are independent at inference; layers that mix them, "
        f"such as batch normalization with the statistics of the batch, do not fit. "
        f"{_received(expected, found)}"
    )


def _alike(expected, found, tolerance):
    """Returns whether logits are equal, to a part of the deviation of each class over all rows."""
    if np.array_equal(expected, found, equal_nan=True):
        return True
    return tolerance > 0 and bool(np.all(_differences(expected, found) <= tolerance))


def _differences(expected, found):
    """Returns the differences of logits in the standard deviations of their classes.

    It is infinite where one of two is not finite and the other something else.
    """
    # Class by class: one that is masked by a large number must not hide what others do.
    units = _units(expected)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        differences = np.abs(expected - found)
        same = (expected == found) | (np.isnan(expected) & np.isnan(found))
        return np.where(same, 0.0, np.where(np.isfinite(differences), differences / units, np.inf))


def _units(logits):
    """Returns the deviations of the finite logits of each class, float array [classes]."""
    finite = [of_class[np.isfinite(of_class)] for of_class in logits.T]
    deviations = np.array([np.std(values) if values.size else 1.0 for values in finite])
    sizes = np.array([np.max(np.abs(values), initial=0.0) for values in finite])
    # Logits that are all alike, as in a pass of one row, have no deviation but that of their
    # rounding, which is one of sums of the size that logits of most classes have.
    usual = np.sort(sizes)[(len(sizes) - 1) // 2]
    return np.max(
        [deviations, 1e-2 * sizes, np.full(sizes.shape, max(0.1 * usual, 1e-300))], axis=0
    )


def _received(expected, found):
    row = int(np.argmax(_differences(expected, found).max(axis=1)))
    return f"Received: {expected[row]} and {found[row]} for the same latent."
