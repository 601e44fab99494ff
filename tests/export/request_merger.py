"""Merges requests of a test double as the batching of TensorFlow Serving does."""

import collections
import threading
import time

import numpy as np

# As in the batching parameters that are written next to versions.
_SECONDS, _THREADS = 0.001, 4


class RequestMerger:
    """Runs requests for one signature together, up to a number of rows.

    Args:
        run: function (signature, dict of name to array) that returns a dict of name to array.
        most_rows: int, rows that are run together; a request of more is run alone.
    """

    def __init__(self, run, most_rows):
        self._run, self._most_rows = run, most_rows
        self._waiting = collections.defaultdict(collections.deque)
        self._changed = threading.Condition()
        for _ in range(_THREADS):
            threading.Thread(target=self._serve, daemon=True).start()

    def run(self, name, inputs):
        """Returns the answer to a request, or raises what the run of it raises."""
        request = _Request(inputs)
        with self._changed:
            self._waiting[name].append(request)
            self._changed.notify()
        request.done.wait()
        if request.error is not None:
            raise request.error
        return request.answer

    def _serve(self):
        while True:
            name, requests = self._next_batch()
            try:
                merged = {
                    key: np.concatenate([request.inputs[key] for request in requests])
                    for key in requests[0].inputs
                }
                answer = self._run(name, merged)
                begin = 0
                for request in requests:
                    end = begin + request.rows
                    request.answer = {key: value[begin:end] for key, value in answer.items()}
                    begin = end
            except Exception as error:
                for request in requests:
                    request.error = error
            for request in requests:
                request.done.set()

    def _next_batch(self):
        with self._changed:
            while True:
                name = next((name for name, queue in self._waiting.items() if queue), None)
                if name is None:
                    self._changed.wait()
                    continue
                queue = self._waiting[name]
                left = queue[0].since + _SECONDS - time.monotonic()
                if left > 0 and sum(request.rows for request in queue) < self._most_rows:
                    self._changed.wait(left)
                    continue
                return name, self._taken(queue)

    def _taken(self, queue):
        """Returns the first requests of a queue, and those like it that have room beside them."""
        requests = [queue.popleft()]
        while (
            queue
            and queue[0].shapes == requests[0].shapes
            and sum(request.rows for request in requests) + queue[0].rows <= self._most_rows
        ):
            requests.append(queue.popleft())
        return requests


class _Request:
    def __init__(self, inputs):
        self.inputs, self.done = inputs, threading.Event()
        self.rows = len(next(iter(inputs.values())))
        self.shapes = {name: value.shape[1:] for name, value in inputs.items()}
        self.since = time.monotonic()
        self.answer = self.error = None
