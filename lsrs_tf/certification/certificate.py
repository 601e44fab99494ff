import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lsrs_tf.certification.settings import Settings
from lsrs_tf.statistics.margin_scale import MarginScale
from lsrs_tf.statistics.radius_scale import RadiusScale

# Which classifier a certificate is about: head(encode(x) + noise) by majority, or head(encode(x)).
Classifier: TypeAlias = Literal["smoothed", "base"]


@dataclasses.dataclass(frozen=True)
class Certificate:
    """The certificate of one image.

    Attributes:
        label: int, the certified class, -1 for abstention.
        clean_label: int, the class without noise, -1 for none; of a smoothed classifier it says
            nothing about a radius.
        radius: float, L2 radius in units of pixels in [0, 1], rounded down; 0.0 for abstention.
    """

    label: int
    clean_label: int
    radius: float

    def columns(self) -> dict[str, object]:
        """Returns what a row of a certification file says in addition to label and radius."""
        columns = dataclasses.asdict(self)
        del columns["label"], columns["radius"]
        return {"clean": columns.pop("clean_label"), **columns}


@dataclasses.dataclass(frozen=True)
class SmoothedCertificate(Certificate):
    """The certificate of one image for the smoothed classifier: a proof up to alpha.

    Attributes:
        p_lower: float, lower bound of the probability of the selected class.
        counts: int64 [classes], votes of the estimation samples.
        selection_counts: int64 [classes], votes of the selection samples.
        samples: int, noisy samples taken in all.
    """

    p_lower: float
    counts: NDArray[np.int64]
    selection_counts: NDArray[np.int64]
    samples: int


@dataclasses.dataclass(frozen=True)
class MarginCertificate(Certificate):
    """The certificate of one image for the base classifier: a proof without noise or alpha.

    Attributes:
        logits: float64 [classes].
        rival: int, the class that limits the radius, -1 for abstention.
        margin: float, the logit of the label less that of the rival, 0.0 for abstention.
        pair_lipschitz: float, bound of the Lipschitz constant of that difference, 0.0 for
            abstention.
    """

    logits: NDArray[np.float64]
    rival: int
    margin: float
    pair_lipschitz: float


@dataclasses.dataclass(frozen=True, repr=False)
class CertificationResult:
    """The certificates of a set of images, in their order.

    Each certificate says: no change of the image with an L2 norm below its radius changes the
    label of the `classifier`. Methods that sample give a `SmoothedResult`, margins a
    `MarginResult`.

    Attributes:
        classifier: 'smoothed' or 'base', which classifier they are about.
        labels: int64 [images], the certified class, -1 for abstention.
        clean_labels: int64 [images], the class without noise, -1 for none; of a smoothed classifier
            it is no certificate.
        radii: float64 [images], L2 radius in units of pixels in [0, 1], rounded down; 0.0 for
            abstention.
        settings: `Settings`, how they were made.

    Examples:
        >>> result = lsrs_tf.certify(model, images, n0=50, n=200, verbose=0)
        >>> result.classifier
        'smoothed'
        >>> result.samples
        array([250, 250, 250, 250])
        >>> lsrs_tf.certify(model, images, method="margin", verbose=0).classifier
        'base'
    """

    classifier: ClassVar[Classifier]

    labels: NDArray[np.int64]
    clean_labels: NDArray[np.int64]
    radii: NDArray[np.float64]
    settings: Settings

    def __repr__(self) -> str:
        """Returns a summary; the certificates are in the attributes."""
        certified = self.labels >= 0
        median = float(np.median(self.radii[certified])) if certified.any() else 0.0
        return (
            f"<{type(self).__name__} of {len(self.labels)} images, {self.classifier} classifier: "
            f"{certified.sum()} certified with a median radius of {median:.3g}, "
            f"{(~certified).sum()} abstentions, {self.settings}>"
        )


@dataclasses.dataclass(frozen=True, repr=False)
class SmoothedResult(CertificationResult):
    """Certificates of the smoothed classifier; each one fails with probability at most alpha.

    Attributes:
        p_lower: float64 [images], lower bound of the probability of the selected class.
        counts: int64 [images, classes], votes of the estimation samples.
        selection_counts: int64 [images, classes], votes of the selection samples.
        samples: int64 [images], noisy samples taken for each image, those of selection and planning
            included.
        scale: `RadiusScale`, what made radii of probabilities: sigma, the bound of the encoder's
            Lipschitz constant, and by how much rounding has lowered the radii in the latent.

    Examples:
        >>> result = lsrs_tf.certify(model, images, n0=50, n=200, verbose=0)
        >>> bool((result.counts.sum(axis=1) <= 200).all())
        True
        >>> result.scale.sigma
        0.25
    """

    classifier: ClassVar[Classifier] = "smoothed"

    p_lower: NDArray[np.float64]
    counts: NDArray[np.int64]
    selection_counts: NDArray[np.int64]
    samples: NDArray[np.int64]
    scale: RadiusScale

    @classmethod
    def of_certificates(
        cls,
        certificates: Sequence[SmoothedCertificate],
        num_classes: int,
        settings: Settings,
        scale: RadiusScale,
    ) -> Self:
        """Returns the result that holds certificates.

        Args:
            certificates: list of `SmoothedCertificate`.
            num_classes: int.
            settings: `Settings`.
            scale: `RadiusScale`.
        """
        return cls(
            labels=_column(certificates, "label", np.int64),
            clean_labels=_column(certificates, "clean_label", np.int64),
            radii=_column(certificates, "radius", np.float64),
            p_lower=_column(certificates, "p_lower", np.float64),
            counts=_column(certificates, "counts", np.int64).reshape(-1, num_classes),
            selection_counts=_column(certificates, "selection_counts", np.int64).reshape(
                -1, num_classes
            ),
            samples=_column(certificates, "samples", np.int64),
            settings=settings,
            scale=scale,
        )


@dataclasses.dataclass(frozen=True, repr=False)
class MarginResult(CertificationResult):
    """Certificates of the base classifier: proofs, without an error probability.

    Attributes:
        logits: float64 [images, classes].
        rivals: int64 [images], the class that limits the radius, -1 for abstention.
        margins: float64 [images], the logit of the label less that of the rival.
        scale: `MarginScale`, what made radii of margins: a Lipschitz bound of each difference of
            two logits, and by how much rounding has lowered the margins.

    Examples:
        >>> result = lsrs_tf.certify(model, images, method="margin", verbose=0)
        >>> bool((result.logits.argmax(axis=1) == result.labels).all())
        True
        >>> bool((result.margins > 0).all())
        True
    """

    classifier: ClassVar[Classifier] = "base"

    logits: NDArray[np.float64]
    rivals: NDArray[np.int64]
    margins: NDArray[np.float64]
    scale: MarginScale

    @classmethod
    def of_certificates(
        cls, certificates: Sequence[MarginCertificate], settings: Settings, scale: MarginScale
    ) -> Self:
        """Returns the result that holds certificates.

        Args:
            certificates: list of `MarginCertificate`.
            settings: `Settings`.
            scale: `MarginScale`.
        """
        return cls(
            labels=_column(certificates, "label", np.int64),
            clean_labels=_column(certificates, "clean_label", np.int64),
            radii=_column(certificates, "radius", np.float64),
            logits=_column(certificates, "logits", np.float64).reshape(-1, scale.num_classes),
            rivals=_column(certificates, "rival", np.int64),
            margins=_column(certificates, "margin", np.float64),
            settings=settings,
            scale=scale,
        )


def _column(certificates: Sequence[Certificate], name: str, dtype: DTypeLike) -> NDArray:
    return np.array([getattr(entry, name) for entry in certificates], dtype)
