from __future__ import annotations

import scipy.linalg  # noqa: F401  whose library is another than NumPy's
from threadpoolctl import threadpool_info, threadpool_limits

from latency_tables.single_thread import single_thread


def threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_linear_algebra_has_one_thread_inside_and_as_many_as_before_afterwards() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        with single_thread():
            assert set(threads()) == {1}
        assert threads() == before

        @single_thread()
        def inside() -> list[int]:
            return threads()

        assert set(inside()) == {1}
        assert threads() == before
