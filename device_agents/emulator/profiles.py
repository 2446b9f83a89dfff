"""Profile: what a kind of phone is, before anything happens to it."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
MODERN_FEATURES = ("shell_v2", "cmd", "stat_v2", "ls_v2", "fixed_push_mkdir")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Cores that share a clock, with the steps it has."""

    cpus: tuple[int, ...]
    steps_khz: tuple[int, ...]
    governor: str = "schedutil"

    @property
    def min_khz(self) -> int:
        """The lowest step."""
        return self.steps_khz[0]

    @property
    def max_khz(self) -> int:
        """The highest step."""
        return self.steps_khz[-1]


@dataclass(frozen=True, slots=True)
class ThermalZone:
    """A sensor as sysfs and thermalservice name it; ``kind``: 0 CPU, 1 GPU, 2 battery, 3 skin."""

    name: str
    kind: int
    idle_celsius: float


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of phone.

    ``features`` is what its adb daemon announces; without ``shell_v2`` a shell has no exit codes
    and one stream. ``crlf_shell``: line ends of that old shell come as CR LF. ``abis``: best
    first. ``protocol_version``, ``max_payload``: what its daemon answers to a connection.
    """

    name: str
    model: str
    device: str
    product: str
    soc: str
    manufacturer: str
    abis: tuple[str, ...]
    android: str
    sdk: int
    fingerprint: str
    clusters: tuple[Cluster, ...]
    zones: tuple[ThermalZone, ...]
    memory_bytes: int
    storage_bytes: int
    features: tuple[str, ...] = MODERN_FEATURES
    crlf_shell: bool = False
    protocol_version: int = 0x01000001
    max_payload: int = 1 << 20

    @property
    def cpus(self) -> tuple[int, ...]:
        """All core numbers, in order."""
        return tuple(sorted(cpu for cluster in self.clusters for cpu in cluster.cpus))

    @property
    def has_thermal_service(self) -> bool:
        """Whether ``dumpsys thermalservice`` is there: since Android 10."""
        return self.sdk >= 29


# Snapdragon 855: four Kryo 485 Silver, three Gold, one Prime
PIXEL_4 = Profile(
    name="pixel-4",
    model="Pixel 4",
    device="flame",
    product="flame",
    soc="SM8150",
    manufacturer="Google",
    abis=("arm64-v8a", "armeabi-v7a", "armeabi"),
    android="13",
    sdk=33,
    fingerprint="google/flame/flame:13/TP1A.221005.002.B2/9382335:user/release-keys",
    clusters=(
        Cluster((0, 1, 2, 3), (300_000, 672_000, 1_209_600, 1_785_600)),
        Cluster((4, 5, 6), (710_400, 1_286_400, 1_804_800, 2_419_200)),
        Cluster((7,), (825_600, 1_612_800, 2_227_200, 2_841_600)),
    ),
    zones=(
        ThermalZone("cpu-0-0-usr", 0, 31.2),
        ThermalZone("cpu-1-3-usr", 0, 32.1),
        ThermalZone("gpuss-0-usr", 1, 30.8),
        ThermalZone("battery", 2, 27.0),
        ThermalZone("skin-therm-adc", 3, 28.4),
    ),
    memory_bytes=6 * GIB,
    storage_bytes=54 * GIB,
)

# Tensor G3: four A510, four A715, one X3
PIXEL_8 = Profile(
    name="pixel-8",
    model="Pixel 8",
    device="shiba",
    product="shiba",
    soc="Tensor G3",
    manufacturer="Google",
    abis=("arm64-v8a",),
    android="15",
    sdk=35,
    fingerprint="google/shiba/shiba:15/AP4A.250205.002/12821496:user/release-keys",
    clusters=(
        Cluster((0, 1, 2, 3), (324_000, 948_000, 1_704_000), "sched_pixel"),
        Cluster((4, 5, 6, 7), (402_000, 1_197_000, 2_367_000), "sched_pixel"),
        Cluster((8,), (500_000, 1_557_000, 2_914_000), "sched_pixel"),
    ),
    zones=(
        ThermalZone("BIG", 0, 33.0),
        ThermalZone("LITTLE", 0, 32.0),
        ThermalZone("G3D", 1, 31.5),
        ThermalZone("battery", 2, 26.5),
        ThermalZone("VIRTUAL-SKIN", 3, 27.9),
    ),
    memory_bytes=8 * GIB,
    storage_bytes=110 * GIB,
)

# Snapdragon 410 with a 32-bit Android 6: no shell v2, CR LF, sums over every payload
OLD_32_BIT = Profile(
    name="old-32-bit",
    model="Moto G (3rd gen)",
    device="osprey_umts",
    product="osprey_retgb",
    soc="MSM8916",
    manufacturer="motorola",
    abis=("armeabi-v7a", "armeabi"),
    android="6.0",
    sdk=23,
    fingerprint="motorola/osprey_retgb/osprey_umts:6.0/MPI24.65-33.1-2/2:user/release-keys",
    clusters=(Cluster((0, 1, 2, 3), (200_000, 800_000, 1_363_200), "interactive"),),
    zones=(ThermalZone("tsens_tz_sensor0", 0, 35.0), ThermalZone("battery", 2, 29.0)),
    memory_bytes=1 * GIB,
    storage_bytes=5 * GIB,
    features=(),
    crlf_shell=True,
    protocol_version=0x01000000,
    max_payload=4096,
)

PROFILES = {profile.name: profile for profile in (PIXEL_4, PIXEL_8, OLD_32_BIT)}
