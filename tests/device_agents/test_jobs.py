from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from device_agents.errors import ConnectionLost, DeviceMissing, Unauthorized
from device_agents.jobs import (
    Job,
    Patience,
    Progress,
    attach,
    find_jobs,
    follow,
    persist,
    start_job,
)
from device_agents.transports.local import LocalTransport
from device_agents.transports.transport import Transport
from tests.device_agents.phones import IMPATIENT, connect, emulated_phone


@pytest.fixture
def transport() -> LocalTransport:
    return LocalTransport()


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "with 'quotes' and $pace" / "job-1")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert holds()


def read_all(job: Job) -> tuple[bytes, Progress]:
    found = list(follow(job, IMPATIENT))
    return b"".join(progress.output for progress in found), found[-1]


def running(mark: str) -> int:
    """Return how many processes have this mark in their command line."""
    rows = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return sum(mark in row and "sleep" in row for row in rows.stdout.splitlines())


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """A number of seconds to sleep, which no other test's processes sleep."""
    number = f"6{abs(hash(str(tmp_path))) % 10**8:08}"
    yield number
    assert running(number) == 0


def test_a_job_says_what_it_printed_and_how_it_ended(transport: Transport, directory: str) -> None:
    job = start_job(transport, directory, "echo one; echo two >&2; printf three; exit 7")
    output, last = read_all(job)
    assert output == b"one\ntwo\nthree"
    assert (last.state, last.exit_code, last.more) == ("ended", 7, False)
    assert last.uptime_s > 0
    assert job.id == "job-1"
    job.remove()
    assert not Path(directory).exists()


def test_a_poll_reads_only_what_is_new(transport: Transport, directory: str) -> None:
    script = "cat words; while [ ! -e go ]; do sleep 0.02; done; echo b"
    job = start_job(transport, directory, script, {"words": b"aaa\n"})
    wait_until(lambda: job.poll().offset == 4)
    first = job.poll()
    assert (first.output, first.state, first.exit_code) == (b"aaa\n", "running", None)
    assert job.poll(first.offset).output == b""
    Path(directory, "go").touch()
    wait_until(lambda: job.poll(4).state == "ended")
    assert job.poll(first.offset).output == b"b\n"


def test_a_long_output_comes_in_pieces(transport: Transport, directory: str) -> None:
    job = start_job(transport, directory, "head -c 3000000 /dev/zero | tr '\\0' x")
    output, last = read_all(job)
    assert output == b"x" * 3_000_000
    assert last.offset == 3_000_000


def test_the_same_job_is_never_started_twice(
    transport: Transport, directory: str, mark: str
) -> None:
    job = start_job(transport, directory, f"echo started; sleep {mark}; :")
    again = start_job(transport, directory, f"echo started; sleep {mark}; :")
    wait_until(lambda: job.poll().output != b"")
    assert again.poll().output == b"started\n"
    assert running(mark) == 1
    found = attach(transport, directory)
    assert found is not None
    assert found.poll().state == "running"
    job.kill()


def test_what_was_not_started_is_not_attached_to(transport: Transport, directory: str) -> None:
    assert attach(transport, directory) is None
    assert find_jobs(transport, directory) == []
    assert Job(transport, directory).poll().state == "lost"
    Job(transport, directory).remove()


def test_a_kill_reaches_what_left_the_process_group(
    transport: Transport, directory: str, mark: str
) -> None:
    script = f"sleep {mark} & timeout 1000 sleep {mark}; echo not reached"
    job = start_job(transport, directory, script)
    wait_until(lambda: running(mark) >= 2)
    job.kill()
    progress = job.poll()
    assert (progress.state, progress.exit_code, progress.output) == ("lost", None, b"")
    job.kill()


def test_a_killed_job_does_not_start_any_more(transport: Transport, directory: str) -> None:
    Path(directory).mkdir(parents=True)
    job = Job(transport, directory)
    job.kill()
    transport.push(b"echo late", f"{directory}/script")
    assert attach(transport, directory) is not None
    assert job.poll().output == b""


def test_jobs_are_found_by_name(transport: Transport, tmp_path: Path) -> None:
    for name in ("b", "a"):
        start_job(transport, f"{tmp_path}/jobs/{name}", ":")
    (tmp_path / "jobs" / "c").mkdir()
    assert [job.id for job in find_jobs(transport, f"{tmp_path}/jobs")] == ["a", "b"]


HOME = "/data/local/tmp/jobs"


def test_a_job_survives_the_cable_and_is_picked_up_again(tmp_path: Path, mark: str) -> None:
    with emulated_phone(tmp_path) as phone:
        transport = connect(phone, tmp_path)
        script = f"echo one; while [ ! -e go ]; do sleep 0.02; done; sleep {mark} & echo two; :"
        job = start_job(transport, f"{HOME}/1", script)
        news = follow(job, IMPATIENT)
        seen = next(news).output
        for drops in range(3):
            phone.drop_connections()
            seen += next(news).output
            if drops == 1:
                (phone.root / HOME[1:] / "1/go").touch()
        seen += b"".join(progress.output for progress in news)
        assert seen == b"one\ntwo\n"
        assert running(mark) == 1
        persist(transport, job.remove, IMPATIENT)
        assert running(mark) == 0
        transport.close()


def test_a_start_that_is_not_answered_is_no_second_start(tmp_path: Path, mark: str) -> None:
    with emulated_phone(tmp_path) as phone:
        transport = connect(phone, tmp_path)
        starts = 0

        def start() -> Job:
            nonlocal starts
            starts += 1
            job = start_job(transport, f"{HOME}/1", f"sleep {mark}; :")
            if starts < 3:
                phone.drop_connections()
                job.poll()
            return job

        job = persist(transport, start, IMPATIENT)
        assert starts == 3
        wait_until(lambda: running(mark) == 1)
        job.remove()
        transport.close()


def test_a_reboot_loses_the_job_and_keeps_its_output(tmp_path: Path) -> None:
    with emulated_phone(tmp_path) as phone:
        transport = connect(phone, tmp_path)
        job = start_job(transport, f"{HOME}/1", "echo kept; sleep 600; echo no")
        wait_until(lambda: job.poll().output == b"kept\n")
        phone.reboot()
        output, last = read_all(job)
        assert (output, last.state, last.exit_code) == (b"kept\n", "lost", None)
        transport.close()


class FakeTime:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


class Away(LocalTransport):
    """Away for a number of tries to reconnect."""

    def __init__(self, tries: int, error: type[Exception] = ConnectionLost) -> None:
        super().__init__()
        self.tries, self.error = tries, error
        self.close()

    def reconnect(self, *, timeout_s: float = 1.0) -> None:
        if self.tries:
            self.tries -= 1
            raise self.error("away")
        super().reconnect()


def test_a_lost_device_is_tried_less_and_less_often() -> None:
    fake = FakeTime()
    patience = Patience(100, 1, 4, clock=lambda: fake.now_s, sleep=fake.sleep)
    away = Away(4, DeviceMissing)
    returned: list[bool] = []
    run = partial(away.run, ["true"])
    persist(away, run, patience, on_return=lambda: returned.append(True))
    assert fake.pauses == [1, 2, 4, 4, 4]
    assert returned == [True]


def test_a_device_that_stays_away_is_given_up_at_the_deadline() -> None:
    fake = FakeTime()
    patience = Patience(20, 1, 4, clock=lambda: fake.now_s, sleep=fake.sleep)
    away = Away(1000)
    with pytest.raises(ConnectionLost):
        persist(away, lambda: away.run(["true"]), patience)
    assert 16 <= fake.now_s <= 20


def test_what_a_person_has_to_do_is_not_waited_for() -> None:
    fake = FakeTime()
    patience = Patience(clock=lambda: fake.now_s, sleep=fake.sleep)
    away = Away(1, Unauthorized)
    with pytest.raises(Unauthorized):
        persist(away, lambda: away.run(["true"]), patience)
    assert len(fake.pauses) == 1
