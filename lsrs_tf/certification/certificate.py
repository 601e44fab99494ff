import dataclasses

import numpy as np


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
    counts: np.ndarray
    selection_counts: np.ndarray
    samples: int
