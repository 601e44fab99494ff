"""How much of the distances between images an encoder keeps: measured, not proven."""

import dataclasses

import keras
import numpy as np
from numpy.typing import ArrayLike

from lsrs_tf.graphs import is_functional, is_sequential, nodes_in_order
from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.number_kinds import count_from_one, number_above_zero


@dataclasses.dataclass(frozen=True)
class DistanceRow:
    """One line of a `distance_report`: distances behind a layer, as shares of those of the images.

    Attributes:
        name: str, the layer.
        between_classes: float, mean share for pairs of images of different classes.
        smallest_between_classes: float, the smallest share of such a pair.
        perturbations: float, mean share for an image and the same with a small perturbation.
        smallest_perturbation: float, the smallest share of a perturbation.

    Examples:
        >>> evaluation.distance_report(model, images, labels).whole.perturbations > 0.5
        True
    """

    name: str
    between_classes: float
    smallest_between_classes: float
    perturbations: float
    smallest_perturbation: float


@dataclasses.dataclass(frozen=True, repr=False)
class DistanceReport:
    """What an encoder keeps of some distances, layer by layer; `str` makes a table of it.

    Attributes:
        rows: tuple of `DistanceRow`, in the order of the layers. The last one is the whole encoder.
        pairs: int, the number of pairs of each kind.

    Examples:
        >>> report = evaluation.distance_report(model, images, labels)
        >>> [row.name for row in report.rows][:2]
        ['centring', 'conv1']
    """

    rows: tuple[DistanceRow, ...]
    pairs: int

    @property
    def whole(self) -> DistanceRow:
        """The row of the whole encoder."""
        return self.rows[-1]

    def __repr__(self) -> str:
        """Returns the table, so that a notebook shows it."""
        return str(self)

    def __str__(self) -> str:
        """Returns a table of shares of the distances between the images."""
        width = max([len(row.name) for row in self.rows] + [len("layer")])
        lines = [
            f"Measured on {self.pairs} pairs, not proven: shares of distances that are kept.",
            f"{'layer':<{width}}  classes  smallest  perturbations  smallest",
        ]
        lines += [
            f"{row.name:<{width}}  {row.between_classes:7.3f}  "
            f"{row.smallest_between_classes:8.3f}  {row.perturbations:13.3f}  "
            f"{row.smallest_perturbation:8.3f}"
            for row in self.rows
        ]
        return "\n".join(lines)


def distance_report(
    model: keras.Layer,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    perturbation: float = 0.1,
    seed: int = 0,
    batch_size: int = 64,
) -> DistanceReport:
    """Measures how much of the distance between images survives each layer of an encoder.

    A Lipschitz constant of 1 says that no distance grows. It does not say how much is lost, and
    what the encoder loses between classes while the noise in the latent stays the same, the head
    cannot get back. Each image is compared with a random one of another class, and with itself plus
    a white perturbation of a small norm. This is a diagnosis on a few images, and proves nothing:
    for bounds see `lsrs_tf.lipschitz_report`.

    Args:
        model: built `LatentSmoothingModel`, whose encoder is measured, or an encoder. Sequential
            and functional encoders have a row for each layer.
        images: float array [images, height, width, channels], pixels in [0, 1].
        labels: int array [images], of at least two classes.
        perturbation: float above 0, L2 norm of the perturbations.
        seed: int, for pairs and perturbations.
        batch_size: int, images in a pass.

    Returns:
        `DistanceReport`.

    Raises:
        ValueError: if images and labels do not belong together, or no two images differ in class.

    Examples:
        >>> encoder = keras.Sequential(
        ...     [keras.Input((4, 4, 1)), keras.layers.Rescaling(0.5, name="half")]
        ... )
        >>> images = np.random.default_rng(0).uniform(size=(8, 4, 4, 1))
        >>> print(distance_report(encoder, images, np.arange(8) % 2))
        Measured on 8 pairs, not proven: shares of distances that are kept.
        layer  classes  smallest  perturbations  smallest
        half     0.500     0.500          0.500     0.500
    """
    encoder = model.encoder if isinstance(model, LatentSmoothingModel) else model
    images = np.asarray(images, np.float32)
    labels = np.asarray(labels)
    _check(images, labels)
    perturbation = number_above_zero(perturbation, "perturbation", "distance_report")
    batch_size = count_from_one(batch_size, "batch_size", "distance_report")
    rng = np.random.default_rng(seed)
    names, network = _layer_by_layer(encoder)
    others = images[_partners(labels, rng)]
    noise = rng.normal(size=images.shape)
    noise *= perturbation / _norms(noise).reshape(-1, *[1] * (images.ndim - 1))
    nearby = (images + noise).astype(np.float32)
    kept = []
    for first in range(0, len(images), batch_size):
        batch = slice(first, first + batch_size)
        layers = [network(part[batch]) for part in (images, others, nearby)]
        kept.append(
            [
                [
                    _norms(np.array(moved, np.float64) - np.array(start, np.float64))
                    / _norms(part[batch].astype(np.float64) - images[batch])
                    for moved, part in ((other, others), (near, nearby))
                ]
                for start, other, near in zip(*layers, strict=True)
            ]
        )
    # [layer, kind, image]
    shares = np.concatenate(kept, axis=-1)
    rows = tuple(
        DistanceRow(
            name,
            float(classes.mean()),
            float(classes.min()),
            float(perturbed.mean()),
            float(perturbed.min()),
        )
        for name, (classes, perturbed) in zip(names, shares, strict=True)
    )
    return DistanceReport(rows, len(images))


def _check(images, labels):
    if images.ndim < 2 or labels.shape != images.shape[:1] or len(np.unique(labels)) < 2:
        raise ValueError(
            "distance_report needs images, one label for each, and at least two classes. Received: "
            f"images of shape {images.shape}, labels of shape {labels.shape} with "
            f"{len(np.unique(labels))} different values."
        )
    _, found = np.unique(images, axis=0, return_inverse=True)
    for label in np.unique(labels):
        same = np.isin(found, found[labels == label]) & (labels != label)
        if same.any():
            raise ValueError(
                "Two equal images have different labels, and no distance to keep. Received: image "
                f"{int(np.flatnonzero(same)[0])} is equal to one of class {label}. Remove one."
            )


def _partners(labels, rng):
    """Returns for each image the index of a random one of another class."""
    return np.array([rng.choice(np.flatnonzero(labels != label)) for label in labels])


def _norms(values):
    return np.sqrt(np.sum(np.square(values.reshape(len(values), -1)), axis=1))


def _layer_by_layer(encoder):
    """Returns the names of layers, and a function of images that returns a value behind each."""
    if is_sequential(encoder) and encoder.built:
        found = [(layer.name, layer.output) for layer in encoder.layers]
    elif is_functional(encoder) and len(encoder.outputs) == 1:
        found = [
            (layer.name, outputs[0])
            for layer, _, outputs in nodes_in_order(encoder)
            if not isinstance(layer, keras.layers.InputLayer)
        ]
    else:
        return [encoder.name], lambda images: [encoder(images)]
    names, outputs = zip(*found, strict=True)
    network = keras.Model(encoder.inputs[0], list(outputs))
    # Keras returns a single output without its list.
    return names, lambda images: keras.tree.flatten(network(images, training=False))
