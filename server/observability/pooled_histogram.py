from bisect import bisect_left
from typing import Any, Self

from prometheus_client import Histogram


class PooledHistogram(Histogram):
    """A histogram that counts in plain numbers and adds them to prometheus-client's values when it is flushed.

    Observing takes 0.4 µs, against 2 to 4 µs in prometheus-client, or 6 to 8 µs with several processes. Not
    thread-safe: callers hold a lock.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._pooled: dict[tuple[str, ...], Self] = {}
        super().__init__(*args, **options)

    def _metric_init(self) -> None:
        super()._metric_init()
        self._counts = [0] * len(self._upper_bounds)
        self._amount = 0.0
        self._is_changed = False

    def at(self, *labels: str) -> Self:
        """Return the histogram with these labels; `labels` locks and checks, which takes 2 µs."""
        pooled = self._pooled.get(labels)
        if pooled is None:
            pooled = self._pooled[labels] = self.labels(*labels)
        return pooled

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:  # noqa: ARG002 - the base has it
        """Count an amount; exemplars are ignored."""
        self._counts[bisect_left(self._upper_bounds, amount)] += 1
        self._amount += amount
        self._is_changed = True

    def flush(self) -> None:
        """Add the counts since the last flush to prometheus-client's values."""
        if self._labelnames and not self._labelvalues:
            for pooled in self._pooled.values():
                pooled.flush()
            return
        if not self._is_changed:
            return
        for n, count in enumerate(self._counts):
            if count:
                self._buckets[n].inc(count)
                self._counts[n] = 0
        self._sum.inc(self._amount)
        self._amount = 0.0
        self._is_changed = False
