"""Single thread: NumPy's and SciPy's linear algebra on one thread for a while.

Threads that spin for small matrices cost more than they give where cores are shared, thirtyfold
beside other work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_thread() -> Iterator[None]:
    """Run linear algebra on one thread inside, and on as many as before afterwards."""
    import scipy.linalg  # noqa: F401  only a library that is loaded can be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
