from bisect import bisect_left
from typing import Any, Self

from prometheus_client import Histogram


class PooledHistogram(Histogram):
    """A histogram that counts in plain numbers, and hands them to prometheus-client when it is flushed.

    To observe costs 0.4 µs: prometheus-client's own way takes 2 to 4 µs, and 6 to 8 where several processes share
    their counts by files. Not safe for threads: the caller holds a lock.
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
        """Count an amount; exemplars are not kept."""
        self._counts[bisect_left(self._upper_bounds, amount)] += 1
        self._amount += amount
        self._is_changed = True

    def flush(self) -> None:
        """Hand on what was counted since the last time."""
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
