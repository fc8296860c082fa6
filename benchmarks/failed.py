"""The one error of the benchmarks."""


class BenchmarkFailed(RuntimeError):
    """Something was not as the measurement needs it; the message says what."""
