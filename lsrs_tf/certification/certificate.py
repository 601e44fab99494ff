import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lsrs_tf.certification.settings import Settings
from lsrs_tf.statistics.radius_scale import RadiusScale


@dataclasses.dataclass(frozen=True)
class Certificate:
    """The certificate of one image.

    Attributes:
        label: int, the certified class, -1 for abstention.
        clean_label: int, the class without noise, -1 for none; it says nothing about a radius.
        radius: float, L2 radius in units of pixels in [0, 1], rounded down; 0.0 for abstention.
        p_lower: float, lower bound of the probability of the selected class.
        counts: int64 [classes], votes of the estimation samples.
        selection_counts: int64 [classes], votes of the selection samples.
        samples: int, noisy samples taken in all.
    """

    label: int
    clean_label: int
    radius: float
    p_lower: float
    counts: NDArray[np.int64]
    selection_counts: NDArray[np.int64]
    samples: int


@dataclasses.dataclass(frozen=True, repr=False)
class CertificationResult:
    """The certificates of a set of images, in their order.

    Each certificate says: no change of the image with an L2 norm below its radius changes the
    label of the smoothed classifier. Each one alone fails with probability at most alpha.

    Attributes:
        labels: int64 [images], the certified class, -1 for abstention.
        clean_labels: int64 [images], the class without noise, -1 for none; no certificate.
        radii: float64 [images], L2 radius in units of pixels in [0, 1], rounded down; 0.0 for
            abstention.
        p_lower: float64 [images], lower bound of the probability of the selected class.
        counts: int64 [images, classes], votes of the estimation samples.
        selection_counts: int64 [images, classes], votes of the selection samples.
        samples: int64 [images], noisy samples taken for each image, those of selection and planning
            included.
        settings: `Settings`, how they were made.
        scale: `RadiusScale`, what made radii of probabilities: sigma, the bound of the encoder's
            Lipschitz constant, and by how much rounding has lowered the radii in the latent.
    """

    labels: NDArray[np.int64]
    clean_labels: NDArray[np.int64]
    radii: NDArray[np.float64]
    p_lower: NDArray[np.float64]
    counts: NDArray[np.int64]
    selection_counts: NDArray[np.int64]
    samples: NDArray[np.int64]
    settings: Settings
    scale: RadiusScale

    def __repr__(self) -> str:
        """Returns a summary; the certificates are in the attributes."""
        certified = self.labels >= 0
        median = float(np.median(self.radii[certified])) if certified.any() else 0.0
        return (
            f"<CertificationResult of {len(self.labels)} images: {certified.sum()} certified "
            f"with a median radius of {median:.3g}, {(~certified).sum()} abstentions, "
            f"{self.settings}>"
        )

    @classmethod
    def of_certificates(
        cls,
        certificates: Sequence[Certificate],
        num_classes: int,
        settings: Settings,
        scale: RadiusScale,
    ) -> Self:
        """Returns the result that holds certificates.

        Args:
            certificates: list of `Certificate`.
            num_classes: int.
            settings: `Settings`.
            scale: `RadiusScale`.
        """

        def column(name: str, dtype: DTypeLike) -> NDArray:
            return np.array([getattr(entry, name) for entry in certificates], dtype)

        return cls(
            labels=column("label", np.int64),
            clean_labels=column("clean_label", np.int64),
            radii=column("radius", np.float64),
            p_lower=column("p_lower", np.float64),
            counts=column("counts", np.int64).reshape(-1, num_classes),
            selection_counts=column("selection_counts", np.int64).reshape(-1, num_classes),
            samples=column("samples", np.int64),
            settings=settings,
            scale=scale,
        )
