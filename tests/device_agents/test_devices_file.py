from __future__ import annotations

from pathlib import Path

import pytest

from device_agents.address import AdbAddress, LocalAddress, SshAddress
from device_agents.devices_file import choose_devices, find_file, read_devices
from device_agents.errors import AddressError, DevicesFileError

GOOD = f"""
# the lab
[pixel-4]
address = "adb:99131FFAZ"
serial = "99131FFAZ"
benchmark_binary = "~/bin/benchmark_model"
benchmark_sha256 = "{"ab" * 32}"
cores = "80"
power_mode = "fixed"
pool = "pixels"

["pixel-4b"]
address = "adb:2"
pool = "pixels"

[pi]
address = "ssh:pi@10.0.0.7:2222"
python = "/home/pi/env/bin/python3"
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "devices.toml"
    file.write_text(text)
    return file


def test_devices_have_what_the_file_says(tmp_path: Path) -> None:
    devices = read_devices(write(tmp_path, GOOD))
    assert list(devices) == ["pixel-4", "pixel-4b", "pi"]
    pixel, pi = devices["pixel-4"], devices["pi"]
    assert pixel.address == AdbAddress("99131FFAZ")
    assert pixel.benchmark_binary == Path("~/bin/benchmark_model").expanduser()
    assert (pixel.cores, pixel.power_mode, pixel.pool) == ("80", "fixed", "pixels")
    assert pi.address == SshAddress("pi", "10.0.0.7", 2222)
    assert (pi.serial, pi.cores, pi.power_mode) == (None, "auto", None)


def test_an_argument_is_a_name_a_pool_or_an_address(tmp_path: Path) -> None:
    devices = read_devices(write(tmp_path, GOOD))
    assert [d.name for d in choose_devices("pi", devices)] == ["pi"]
    assert [d.name for d in choose_devices("pixels", devices)] == ["pixel-4", "pixel-4b"]
    (local,) = choose_devices("local:cpu=1", devices)
    assert local.address == LocalAddress(1)
    with pytest.raises(AddressError, match=r"found 'pixel'; devices.toml names pi, pixel-4, "):
        choose_devices("pixel", devices)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[a]\naddress = "local"\nseriall = "x"', r"line 3, key 'seriall': unknown; there are ad"),
        ('[a]\naddress = "adb"', r"line 2, key 'address': expected an address such as"),
        ('\n[a]\nserial = "x"', r"line 2: \[a\] has no key 'address'"),
        ('[a]\naddress = "local"\ncores = 4', r"line 3, key 'cores': expected .*found 4"),
        ('[a]\naddress="local"\npower_mode="max"', r"line 3, key 'power_mode': .*found 'max'"),
        ('[a]\naddress = "local"\nbenchmark_sha256 = "ab"', r"64 hexadecimal digits, found 'ab'"),
        ("address = 'local'", r"line 1: expected a table \[address\]"),
        ("[a]\naddress = \n[b]", r"expected TOML, found: .*line 2"),
    ],
)
def test_a_typo_is_told_with_file_line_and_key(text: str, message: str, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    with pytest.raises(DevicesFileError, match=message) as found:
        read_devices(file)
    assert str(file) in str(found.value)


def test_the_first_file_counts(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    assert find_file([tmp_path / "none.toml", file]) == file
    assert find_file([tmp_path / "none.toml"]) is None
    with pytest.raises(DevicesFileError, match="No such file"):
        read_devices(tmp_path / "none.toml")
