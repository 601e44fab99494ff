"""What an operator wants to see of answers over time, in the text format of Prometheus."""

import bisect
import itertools
import threading
from collections.abc import Sequence

from export.answers import Certificates, MarginCertificates

_BOUNDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


class AnswerMetrics:
    """Counts images, refusals, abstentions and radii of the answers of a client.

    TensorFlow Serving knows requests and their times, not what is in the answers: whoever asks it
    counts. It may be used by several threads.

    Args:
        model: str, the label of the metrics.
        bounds: floats, ascending, upper bounds of the buckets of radii.

    Examples:
        >>> import numpy as np
        >>> from export.answer_metrics import AnswerMetrics
        >>> from export.answers import Certificates
        >>> metrics = AnswerMetrics("digits", bounds=[0.25, 0.5])
        >>> radius = np.array([0.3, 0, 0.6], np.float32)
        >>> label = np.array([4, -1, 7])
        >>> votes, samples = np.zeros([3, 10], np.int32), np.full(3, 1100, np.int32)
        >>> metrics.add(Certificates(label, radius, radius, votes, samples))
        >>> [line for line in metrics.text().splitlines() if "abstain" in line][-1]
        'certified_images_total{model="digits",outcome="abstained"} 1'
    """

    def __init__(self, model: str, bounds: Sequence[float] = _BOUNDS) -> None:
        if not bounds or list(bounds) != sorted(set(bounds)) or '"' in model:
            raise ValueError(
                "Bounds of radii must be ascending, at least one, and the name of the model "
                f"without quotation marks. Received: {list(bounds)}, {model!r}"
            )
        self._model, self._bounds = model, list(bounds)
        self._outcomes = {"certified": 0, "abstained": 0, "refused": 0}
        # The last one is above all bounds.
        self._buckets = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def add(self, answer: Certificates | MarginCertificates) -> None:
        """Counts an answer of the client.

        Rows that are refused are told from abstentions by their samples; answers about margins do
        not tell them apart, and count them as abstentions.
        """
        with self._lock:
            for row, label in enumerate(answer.label):
                if label >= 0:
                    radius = float(answer.radius[row])
                    self._buckets[bisect.bisect_left(self._bounds, radius)] += 1
                    self._sum += radius
                    self._outcomes["certified"] += 1
                elif isinstance(answer, Certificates) and answer.samples[row] == 0:
                    self._outcomes["refused"] += 1
                else:
                    self._outcomes["abstained"] += 1

    def text(self) -> str:
        """Returns the metrics as a page that Prometheus reads."""
        with self._lock:
            outcomes, total = dict(self._outcomes), self._sum
            counts = list(itertools.accumulate(self._buckets))
        model = f'model="{self._model}"'
        lines = ["# TYPE certified_images_total counter"]
        lines += [
            f'certified_images_total{{{model},outcome="{outcome}"}} {count}'
            for outcome, count in outcomes.items()
        ]
        lines.append("# TYPE certified_radius histogram")
        lines += [
            f'certified_radius_bucket{{{model},le="{bound}"}} {count}'
            for bound, count in zip([*self._bounds, "+Inf"], counts, strict=True)
        ]
        lines.append(f"certified_radius_sum{{{model}}} {total!r}")
        lines.append(f"certified_radius_count{{{model}}} {counts[-1]}")
        return "\n".join(lines) + "\n"
