"""Workers start together behind a gate, and whoever finishes the last job stops the clock. Knows no queue."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess

from benchmarks.failed import BenchmarkFailed

# A fresh interpreter each: no worker inherits connections, threads or warm caches of the benchmark.
CONTEXT: SpawnContext = multiprocessing.get_context("spawn")
START_SECONDS = 30.0


class Race:
    """One drain of `jobs` jobs by `workers` processes; goes to them as an argument, or by fork."""

    def __init__(self, workers: int, jobs: int) -> None:
        self.workers = workers
        self.jobs = jobs
        self._gate = CONTEXT.Barrier(workers + 1)
        self._count = CONTEXT.Value("l", 0)
        self._ended = CONTEXT.Value("d", 0.0)
        self._over = CONTEXT.Event()

    def ready(self) -> None:
        """A worker is connected and waits for the others."""
        self._gate.wait(START_SECONDS)

    def finished(self, jobs: int = 1) -> None:
        """So many more jobs are finished, as far as the queue is concerned."""
        with self._count.get_lock():
            self._count.value += jobs
            if self._count.value == self.jobs:
                self._ended.value = time.monotonic()
                self._over.set()

    @property
    def over(self) -> bool:
        """Whether all jobs are finished."""
        return bool(self._count.value >= self.jobs)  # read without the lock, so that asking costs nothing

    def seconds(self, at_most: float) -> float:
        """Open the gate, wait for the last job; what it took. Raises BenchmarkFailed after `at_most` seconds."""
        self._gate.wait(START_SECONDS)
        started = time.monotonic()
        if not self._over.wait(at_most):
            raise BenchmarkFailed(f"{self._count.value} of {self.jobs} jobs done after {at_most:.0f} s")
        return float(self._ended.value - started)

    def by(self, program: BaseProcess, stop: signal.Signals, at_most: float) -> float:
        """Start a program that drains the queue with processes of its own, and take its `seconds`; `stop` ends it."""
        program.start()
        try:
            return self.seconds(at_most)
        finally:
            if program.pid and program.is_alive():
                os.kill(program.pid, stop)
            program.join(15)
            if program.is_alive():
                program.kill()
                program.join()

    def check(self) -> None:
        """Nobody ran a job twice. Raises BenchmarkFailed."""
        if self._count.value != self.jobs:
            raise BenchmarkFailed(f"{self._count.value} jobs were finished, expected {self.jobs}")
