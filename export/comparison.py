"""Two versions of a model, asked about the same images with the same noise."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from export.answers import Certificates
from export.client import Client


@dataclasses.dataclass(frozen=True)
class TimedCertificates:
    """Certificates of images that were asked for one at a time.

    Attributes:
        certificates: `Certificates`.
        seconds: float64 [images], of each request.
    """

    certificates: Certificates
    seconds: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What two versions answer.

    Attributes:
        first: `TimedCertificates`.
        second: `TimedCertificates`, of the same images.
    """

    first: TimedCertificates
    second: TimedCertificates

    def summary(self) -> dict[str, int | float]:
        """Returns the differences, dict of what is said to numbers.

        Radii count where both certify the same label. The largest change of votes is that of one
        class of one image.
        """
        one, other = self.first.certificates, self.second.certificates
        refused = (one.samples == 0).astype(int) + (other.samples == 0)
        certified = (one.label >= 0) & (other.label >= 0)
        same = certified & (one.label == other.label)
        change = other.radius[same].astype(np.float64) - one.radius[same]
        votes = np.abs(other.votes.astype(np.int64) - one.votes)
        slowdown = np.median(self.second.seconds) / np.median(self.first.seconds)
        return {
            "images": len(one.label),
            "equal in every bit": int(_equal_rows(one, other).sum()),
            "refused by one only": int((refused == 1).sum()),
            "refused by both": int((refused == 2).sum()),
            "abstentions of the first": int(_abstained(one).sum()),
            "abstentions of the second": int(_abstained(other).sum()),
            "certified with another label": int((certified & ~same).sum()),
            "smallest change of a radius": float(change.min(initial=0.0)),
            "largest change of a radius": float(change.max(initial=0.0)),
            "largest change of votes": int(votes.max(initial=0)),
            "median time of a request, second / first": float(slowdown),
        }


def certified_one_by_one(
    client: Client, images: Sequence[bytes], *, seed: int, n: int, alpha: float
) -> TimedCertificates:
    """Asks for the certificate of each image by itself.

    Args:
        client: `Client`.
        images: list of files, bytes; see `Client`.
        seed: int, of all images.
        n: int, estimation samples.
        alpha: float, probability that a certificate is wrong.

    Raises:
        ServingError: if the server does not answer.
        ValueError: if there is no image, or a setting is not a number of the right kind.
    """
    answers, seconds = [], []
    for image in images:
        start = time.perf_counter()
        answers.append(client.certify_with([image], seed, n, alpha))
        seconds.append(time.perf_counter() - start)
    fields = [field.name for field in dataclasses.fields(Certificates)]
    together = {
        name: np.concatenate([getattr(answer, name) for answer in answers]) for name in fields
    }
    return TimedCertificates(Certificates(**together), np.array(seconds))


def compare(
    first: Client, second: Client, images: Sequence[bytes], *, seed: int, n: int, alpha: float
) -> Comparison:
    """Asks two versions about the same images with the same seed, samples and alpha.

    Where the model is the same, so is every bit of the answers, on machines of one kind. Each is
    asked about the first image once before, so that no time is that of a connection being made.

    Args:
        first: `Client` of one version.
        second: `Client` of the other.
        images: list of files, bytes; see `Client`.
        seed: int, of all images.
        n: int, estimation samples.
        alpha: float, probability that a certificate is wrong.

    Raises:
        ServingError: if a server does not answer.
        ValueError: if there is no image, or the versions have different classes.
    """
    if not images:
        raise ValueError("Give at least one image to compare versions with. Received: none")
    for client in (first, second):
        client.certify_with(images[:1], seed, n, alpha)
    one, other = (
        certified_one_by_one(client, images, seed=seed, n=n, alpha=alpha)
        for client in (first, second)
    )
    classes = [answers.certificates.votes.shape[1] for answers in (one, other)]
    if classes[0] != classes[1]:
        raise ValueError(
            "Versions of different classes cannot be compared. Received: "
            f"{classes[0]} classes and {classes[1]}"
        )
    return Comparison(one, other)


def _abstained(answer: Certificates) -> NDArray[np.bool_]:
    return (answer.label == -1) & (answer.samples > 0)


def _equal_rows(one: Certificates, other: Certificates) -> NDArray[np.bool_]:
    equal = np.ones(len(one.label), bool)
    for field in dataclasses.fields(Certificates):
        values = [getattr(answer, field.name) for answer in (one, other)]
        equal &= (values[0] == values[1]).reshape(len(equal), -1).all(axis=1)
    return equal
