"""What every transport promises, as tests to inherit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_agents.address import parse_address
from device_agents.errors import (
    CommandTimeout,
    ConnectionLost,
    PullFailed,
    PushFailed,
)
from device_agents.transports.shell import PART
from device_agents.transports.transport import Completed, Transport

MIB = 1 << 20
EVERY_BYTE = bytes(range(256)) + b"\r\n\r\r\n\n\x04\x1a" + bytes(range(255, -1, -1))
AWKWARD_WORDS = (
    "",
    " ",
    "two words",
    "it's",
    '"quoted"',
    "$HOME",
    "`id`",
    "$(id)",
    "a;b",
    "a&b",
    "a|b",
    ">x",
    "*",
    "~",
    "-n",
    "--",
    "\\",
    "\\n",
    "a\nb",
    "tab\there",
    "ünï ☃ 𝄞",
    "!x",
    "{a,b}",
    "a=b",
    "#x",
    "%s",
    "\r",
    "\x7f\x01",
)
_WORDS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(AWKWARD_WORDS),
    min_size=1,
    max_size=6,
)
over_the_link = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def sh(script: str, *words: str) -> list[str]:
    """Return a command that has the device's shell run a script, words as $1, $2, ..."""
    return ["sh", "-c", script, "sh", *words]


class TransportContract:
    """Inherit, and supply ``transport`` and ``folder``, an empty one on the device."""

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        raise NotImplementedError

    @pytest.fixture
    def folder(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def listing(self, transport: Transport, folder: str) -> Callable[[], set[str]]:
        """Return what names the folder holds now."""

        def names() -> set[str]:
            found = transport.run(["ls", "-A", folder])
            assert found.exit_code == 0
            return set(found.text.split())

        return names

    def test_its_address_says_where_it_leads(self, transport: Transport) -> None:
        assert str(parse_address(transport.address)) == transport.address

    @over_the_link
    @given(code=st.integers(0, 255))
    def test_every_exit_code_comes_back(self, transport: Transport, code: int) -> None:
        assert transport.run(sh(f"exit {code}")).exit_code == code

    @pytest.mark.parametrize(("name", "code"), [("KILL", 137), ("TERM", 143), ("ABRT", 134)])
    def test_a_signal_is_128_and_its_number(
        self, transport: Transport, name: str, code: int
    ) -> None:
        assert transport.run(sh(f"ulimit -c 0; kill -{name} $$")).exit_code == code

    def test_a_command_that_is_not_there_is_127(self, transport: Transport) -> None:
        done = transport.run(["no-such-command-anywhere"])
        assert (done.exit_code, done.stdout) == (127, b"")
        assert b"no-such-command-anywhere" in done.stderr

    def test_a_file_that_is_no_program_is_126(self, transport: Transport, folder: str) -> None:
        transport.push(b"\x7fnothing to run\0", f"{folder}/tool", mode=0o644)
        done = transport.run([f"{folder}/tool"])
        assert (done.exit_code, done.stdout) == (126, b"")

    def test_the_streams_are_apart(self, transport: Transport) -> None:
        argv = sh("echo out; echo err >&2; echo more; exit 3")
        assert transport.run(argv) == Completed(tuple(argv), 3, b"out\nmore\n", b"err\n")

    def test_nothing_printed_is_empty(self, transport: Transport) -> None:
        assert transport.run(["true"]) == Completed(("true",), 0, b"", b"")
        assert transport.run(["false"]) == Completed(("false",), 1, b"", b"")

    @pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n", b"\r\n", b"\r", b"\0"])
    def test_output_is_bytes_as_they_are(
        self, transport: Transport, folder: str, tail: bytes
    ) -> None:
        transport.push(EVERY_BYTE + tail, f"{folder}/bytes")
        done = transport.run(sh('cat "$1"; cat "$1" >&2', f"{folder}/bytes"))
        assert done.stdout == done.stderr == EVERY_BYTE + tail

    def test_large_output_comes_whole(self, transport: Transport, folder: str) -> None:
        data = os.urandom(5 * MIB)
        transport.push(data, f"{folder}/large")
        assert transport.run(["cat", f"{folder}/large"]).stdout == data
        done = transport.run(sh('cat "$1" >&2', f"{folder}/large"))
        assert (done.stdout, done.stderr) == (b"", data)

    def test_standard_input_arrives(self, transport: Transport) -> None:
        data = EVERY_BYTE + os.urandom(MIB)
        assert transport.run(["cat"], stdin=data).stdout == data

    def test_standard_input_ends(self, transport: Transport) -> None:
        assert transport.run(["cat"]).stdout == b""

    def test_standard_input_may_go_unread(self, transport: Transport) -> None:
        assert transport.run(sh("exit 5"), stdin=bytes(MIB)).exit_code == 5

    def test_awkward_words_are_not_interpreted(self, transport: Transport) -> None:
        done = transport.run(["printf", "%s\\0", *AWKWARD_WORDS])
        assert done.stdout.decode().split("\0")[:-1] == list(AWKWARD_WORDS)

    @over_the_link
    @given(words=_WORDS)
    def test_no_word_is_interpreted(self, transport: Transport, words: list[str]) -> None:
        done = transport.run(["printf", "%s\\0", *words])
        assert (done.exit_code, done.stderr) == (0, b"")
        assert done.stdout.decode().split("\0")[:-1] == words

    @pytest.mark.parametrize("argv", [[], ["a\0b"], ["echo", "\0"]])
    def test_what_is_no_command_is_a_value_error(
        self, transport: Transport, argv: list[str]
    ) -> None:
        with pytest.raises(ValueError, match="NUL"):
            transport.run(argv)

    @pytest.mark.parametrize(
        "script", ["sleep 60", "while :; do echo more; sleep 0.01; done", "echo first; sleep 60"]
    )
    def test_a_late_command_is_given_up_and_the_next_one_runs(
        self, transport: Transport, script: str
    ) -> None:
        with pytest.raises(CommandTimeout, match=r"0\.5 s"):
            transport.run(sh(script), timeout_s=0.5)
        assert transport.run(["echo", "next"]).stdout == b"next\n"

    @over_the_link
    @given(data=st.binary(max_size=4096))
    def test_pulled_is_what_was_pushed(
        self, transport: Transport, folder: str, data: bytes
    ) -> None:
        transport.push(data, f"{folder}/file")
        assert transport.pull(f"{folder}/file") == data

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 20 * MIB])
    def test_every_size_makes_the_round_trip(
        self,
        transport: Transport,
        folder: str,
        listing: Callable[[], set[str]],
        size: int,
    ) -> None:
        data = os.urandom(size)
        transport.push(data, f"{folder}/file")
        assert transport.pull(f"{folder}/file") == data
        assert listing() == {"file"}

    def test_an_awkward_path_is_a_path(self, transport: Transport, folder: str) -> None:
        path = f"{folder}/it's $a; b,ü 'c\"*"
        transport.push(b"here", path)
        assert transport.pull(path) == b"here"

    @pytest.mark.parametrize("mode", [0o644, 0o600, 0o755])
    def test_the_mode_is_as_asked(self, transport: Transport, folder: str, mode: int) -> None:
        transport.push(b"tool", f"{folder}/tool", mode=mode)
        assert transport.run(["stat", "-c", "%a", f"{folder}/tool"]).text == f"{mode:o}\n"

    def test_a_push_into_no_folder_leaves_nothing(
        self, transport: Transport, folder: str, listing: Callable[[], set[str]]
    ) -> None:
        with pytest.raises(PushFailed, match="missing/file"):
            transport.push(b"data", f"{folder}/missing/file")
        assert listing() == set()

    def test_a_push_onto_a_folder_leaves_nothing(
        self, transport: Transport, folder: str, listing: Callable[[], set[str]]
    ) -> None:
        assert transport.run(["mkdir", f"{folder}/there"]).exit_code == 0
        with pytest.raises(PushFailed, match="there"):
            transport.push(b"data", f"{folder}/there")
        assert listing() == {"there"}
        assert transport.run(["ls", "-A", f"{folder}/there"]).stdout == b""

    def test_a_failed_push_keeps_the_old_file(
        self, transport: Transport, folder: str, listing: Callable[[], set[str]]
    ) -> None:
        transport.push(b"old", f"{folder}/file")
        assert transport.run(["mkdir", f"{folder}/file{PART}"]).exit_code == 0
        with pytest.raises(PushFailed, match="file"):
            transport.push(b"new", f"{folder}/file")
        assert transport.pull(f"{folder}/file") == b"old"

    def test_a_push_replaces_a_file_that_is_being_read(
        self, transport: Transport, folder: str
    ) -> None:
        transport.push(b"old", f"{folder}/file")
        before = transport.run(["stat", "-c", "%i", f"{folder}/file"]).text
        assert transport.run(["ln", f"{folder}/file", f"{folder}/open"]).exit_code == 0
        transport.push(b"new, and longer", f"{folder}/file")
        assert transport.pull(f"{folder}/open") == b"old"
        assert transport.pull(f"{folder}/file") == b"new, and longer"
        assert transport.run(["stat", "-c", "%i", f"{folder}/file"]).text != before

    @pytest.mark.parametrize("name", ["missing", "no/such/folder", "."])
    def test_what_is_no_file_cannot_be_pulled(
        self, transport: Transport, folder: str, name: str
    ) -> None:
        with pytest.raises(PullFailed, match=name):
            transport.pull(f"{folder}/{name}")
        assert transport.is_alive()

    def test_it_reconnects(self, transport: Transport) -> None:
        assert transport.is_alive()
        transport.reconnect()
        assert transport.is_alive()
        assert transport.run(["echo", "again"]).stdout == b"again\n"

    def test_closed_twice_and_opened_again(self, transport: Transport) -> None:
        transport.close()
        transport.close()
        assert not transport.is_alive()
        for use in (
            lambda: transport.run(["true"]),
            lambda: transport.push(b"", "/nowhere"),
            lambda: transport.pull("/nowhere"),
        ):
            with pytest.raises(ConnectionLost, match="reconnect"):
                use()
        transport.reconnect()
        assert transport.run(["true"]).exit_code == 0
