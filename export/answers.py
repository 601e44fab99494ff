"""What a served model answers, row by row, or why it does not."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

# Ends the names of signatures that take encoded images in place of pixels.
SUFFIX_OF_FILES = "_bytes"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Labels of the smoothed classifier.

    Attributes:
        label: int64 [images], -1 for abstention.
        votes: int32 [images, classes].
    """

    label: NDArray[np.int64]
    votes: NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class CleanPredictions:
    """Labels of the base classifier without noise; no certificates.

    Attributes:
        label: int64 [images], -1 for a refused row.
        logits: float32 [images, classes].
    """

    label: NDArray[np.int64]
    logits: NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Certificates:
    """Certified labels and radii.

    Attributes:
        label: int64 [images], -1 for abstention.
        radius: float32 [images], L2, in units of pixels in [0, 1], rounded down; 0 for abstention.
        p_lower: float32 [images], lower bound of the probability of the class.
        votes: int32 [images, classes].
        samples: int32 [images], noisy samples taken, 0 where the row was refused.
    """

    label: NDArray[np.int64]
    radius: NDArray[np.float32]
    p_lower: NDArray[np.float32]
    votes: NDArray[np.int32]
    samples: NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class MarginCertificates:
    """Labels and radii of the base classifier: proofs, without noise and without alpha.

    Attributes:
        label: int64 [images], -1 for abstention or a refused row.
        radius: float32 [images], L2, in units of pixels in [0, 1], rounded down; 0 for abstention.
        margin: float64 [images], the logit of the label less that of the class that limits the
            radius; 0 for abstention.
    """

    label: NDArray[np.int64]
    radius: NDArray[np.float32]
    margin: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class RobustLabels:
    """Labels that are certain up to the radii that were asked for, or not.

    Attributes:
        robust: bool [images].
        label: int64 [images], -1 where it is not robust.
        samples: int32 [images], noisy samples taken, 0 where the row was refused.
    """

    robust: NDArray[np.bool_]
    label: NDArray[np.int64]
    samples: NDArray[np.int32]


class ServingError(OSError):
    """A request that a server did not answer.

    Args:
        code: str, the canonical name of the error, such as 'DEADLINE_EXCEEDED',
            'INVALID_ARGUMENT', 'NOT_FOUND' or 'UNAVAILABLE'.
        message: str.

    Attributes:
        code: str.

    Examples:
        >>> str(ServingError("UNAVAILABLE", "connection refused"))
        'UNAVAILABLE: connection refused'
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
