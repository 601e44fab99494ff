import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
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
        method: str, 'fixed' or 'sequential'.
        target_radii: tuple of floats, or None if there are none.
        tolerance: float, or None if there is none.
        sigma: float, standard deviation of the noise in the latent.
        n0: int, selection samples per image.
        n: int, estimation samples per image, the most of them if the method is sequential.
        alpha: float.
        against: str, 'half' or 'runner_up', what the probability of the class was held against.
        seed: int.
        noise: str, 'float32' or 'exact'.
        radius_loss: float, by how much rounding has lowered the radii in the latent.
        lipschitz: float, the bound of the encoder's Lipschitz constant that was divided by.
    """

    labels: np.ndarray
    clean_labels: np.ndarray
    radii: np.ndarray
    p_lower: np.ndarray
    counts: np.ndarray
    selection_counts: np.ndarray
    samples: np.ndarray
    method: str
    target_radii: tuple | None
    tolerance: float | None
    sigma: float
    n0: int
    n: int
    alpha: float
    against: str
    seed: int
    noise: str
    radius_loss: float
    lipschitz: float
