"""The packed method: whose rows are whose, what a table says of itself, and resumption."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agents.emulator.profiled_model import ProfiledModel
from device_agents.packs import PackedPlan, PackVisit
from device_agents.simulated import latency_of_sha256_ns
from device_agents.simulated_phone import SimulatedPhone
from device_agents.tools.op_profile import OpProfile, OpRow
from exporters.catalog import make_exporter
from exporters.packs import export_pack, read_manifest
from latency_tables.attribution import attribute_rows
from latency_tables.errors import ConditionMismatch, MissingLayers, NotMeasured, PackDiscarded
from latency_tables.journal import Journal
from latency_tables.measuring import silent
from latency_tables.packed import choose_clean_layers, export_packed
from latency_tables.predictor import compile_predictor
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from latency_tables.validation import validate
from networks.graph import Shape
from networks.layers import Bottleneck, Classifier, Conv, Layer, Separable, SqueezeExcite
from networks.network import Network
from networks.spaces import make_space

PLAN = PackedPlan(pack_size=4, shuffles=3, clean_layers=6)
IN = Shape(14, 14, 16)
EVERY_KIND: list[Layer] = [
    Conv(IN, 16, kernel=3, activation="hard-swish"),
    Bottleneck(
        IN, 16, kernel=3, expanded=32, se=SqueezeExcite(8, "hard-sigmoid"), skip="identity"
    ),
    Bottleneck(
        IN, 16, kernel=5, expanded=32, se=SqueezeExcite(8), skip="pool", activation="relu6"
    ),
    Separable(IN, 24, kernel=3, stride=2, se=SqueezeExcite(4)),
    Bottleneck(IN, 16, kernel=3, expanded=48, activation="hard-swish"),
    Classifier(Shape(7, 7, 16), 10),
    Classifier(Shape(7, 7, 16), 10, hidden=20, activation="hard-swish"),
]  # fmt: skip
SPACE = make_space("mnasnet", resolution=32)
OPERATORS: Sequence[Sequence[str]] = (
    ("CONV_2D", "HARD_SWISH"),
    ("CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "CONV_2D", "CONV_2D", "ADD", "MUL", "MUL", "CONV_2D"),
    ("MEAN", "FULLY_CONNECTED"),
)
TYPES: Mapping[str, Sequence[str]] = {
    "ADD": ["Add (ND)", "Clamp (NC)"],
    "AVERAGE_POOL_2D": ["Average Pooling (NHWC, F32) Pixelwise Average Pooling"],
    "CONV_2D": ["Convolution (NHWC, F32) IGEMM"],
    "DEPTHWISE_CONV_2D": ["Convolution (NHWC, F32) DWConv"],
    "FULLY_CONNECTED": ["Static Reshape (NC)", "Fully Connected (NC, F32) GEMM"],
    "HARD_SWISH": ["HardSwish (NC)"],
    "LOGISTIC": ["Sigmoid (NC)"],
    "MEAN": ["Mean (ND) Reduce2"],
    "MUL": ["Multiply (ND)"],
}


def profile_of(types: Sequence[str], times_ns: Sequence[float] | None = None) -> OpProfile:
    """Return the profile of an XNNPACK delegate with these rows."""
    rows = [
        OpRow(kind, f"Delegate/{kind}:{index}", index, time_ns, 1, True)
        for index, (kind, time_ns) in enumerate(
            zip(types, times_ns or [1000.0] * len(types), strict=True)
        )
    ]
    delegate = OpRow("TfLiteXNNPackDelegate", "x:99", 99, 1e6, 1, False)
    return OpProfile(tuple(rows), (delegate,), 30)


def types_of(operators: Sequence[str]) -> list[str]:
    """Return what XNNPACK shows of a float layer; only a hard-sigmoid's Add has a Clamp."""
    types = list[str]()
    for operator, following in pairwise([*operators, ""]):
        shown = TYPES[operator]
        types += shown[:1] if operator == "ADD" and following != "MUL" else shown
    return types


ROWS = [kind for operators in OPERATORS for kind in types_of(operators)]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_the_runtime_itself_shows_rows_as_expected(tmp_path: Path, precision: str) -> None:
    pack = export_pack(
        EVERY_KIND, tmp_path / "pack.tflite", exporter=make_exporter(precision=precision, seed=0)
    )
    model = ProfiledModel(pack.path)
    model.invoke()
    rows = tuple(
        OpRow(o.tag, o.tag, o.index, 1000.0 + o.elapsed_us, 1, o.in_delegate)
        for o in model.operators()
    )
    layers = [layer.operators for layer in read_manifest(pack.manifest).layers]
    times_ns = attribute_rows(layers, OpProfile(rows, (), 1), precision=precision)
    assert len(times_ns) == len(EVERY_KIND)
    assert sum(filter(None, times_ns)) == pytest.approx(sum(row.mean_ns for row in rows))


@given(st.lists(st.floats(1, 1e6), min_size=len(ROWS), max_size=len(ROWS)))
def test_each_layer_has_the_sum_of_its_rows(times_ns: list[float]) -> None:
    found = attribute_rows(OPERATORS, profile_of(ROWS, times_ns), precision="float32")
    starts = [0, 2, 12, len(ROWS)]
    assert found == tuple(pytest.approx(sum(times_ns[a:b])) for a, b in pairwise(starts))


@given(st.data())
@settings(max_examples=60)
def test_any_doubt_discards_the_pack(data: st.DataObject) -> None:
    rows = list(ROWS)
    at = data.draw(st.integers(0, len(rows) - 1))
    match data.draw(st.sampled_from(["drop", "double", "swap", "other", "cut"])):
        case "drop" if rows[at] not in ("Clamp (NC)", "Static Reshape (NC)"):
            del rows[at]
        case "double":
            rows.insert(at, rows[at])
        case "swap" if at and rows[at] != rows[at - 1]:
            rows[at - 1], rows[at] = rows[at], rows[at - 1]
        case "cut" if at:
            del rows[at:]
        case _:
            rows[at] = "Softmax (NC, F32)"
    with pytest.raises(PackDiscarded, match="expected"):
        attribute_rows(OPERATORS, profile_of(rows), precision="float32")


def changed(**fields: object) -> OpProfile:
    whole = profile_of(ROWS)
    rows = list(whole.rows)
    rows[3] = replace(rows[3], **fields)  # type: ignore[arg-type]
    return replace(whole, rows=tuple(rows))


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (changed(index=9), "numbered from 0"),
        (changed(index=None), "numbered from 0"),
        (changed(times_called=0), "once in each run"),
        (changed(in_delegate=False), "whole-graph delegate"),
        (replace(changed(), delegates=changed().delegates * 2), "whole-graph delegate"),
        (profile_of([*ROWS, "Add (ND)"]), "1 rows more"),
        (OpProfile((), (), 1), "numbered from 0"),
    ],
)
def test_doubts_are_named(profile: OpProfile, message: str) -> None:
    with pytest.raises(PackDiscarded, match=message):
        attribute_rows(OPERATORS, profile, precision="float32")
    with pytest.raises(PackDiscarded, match="rows are known, found SOFTMAX"):
        attribute_rows([["SOFTMAX"]], changed(), precision="float32")


def test_a_layer_below_the_clock_has_no_number() -> None:
    profile = profile_of(ROWS, [0.0] * 2 + [1.0] * (len(ROWS) - 2))
    found = attribute_rows(OPERATORS, profile, precision="float32")
    assert found == (None, 10.0, 3.0)


def test_without_a_delegate_rows_are_the_operators() -> None:
    names = [name for operators in OPERATORS for name in operators]
    rows = tuple(OpRow(n, f"{n}:{i}", i, 2.0, 1, False) for i, n in enumerate(names))
    found = attribute_rows(OPERATORS, OpProfile(rows, (), 1), precision="float32")
    assert found == (4.0, 18.0, 4.0)


def test_clean_layers_span_kinds_and_sizes() -> None:
    chosen = choose_clean_layers(SPACE.layers, 60)
    assert len(set(chosen)) == 60
    kinds = {layer.kind for layer in SPACE.layers}
    assert {layer.kind for layer in chosen[: len(kinds)]} == kinds
    for kind in kinds:
        mine = [layer.key for layer in chosen if layer.kind == kind]
        assert len(mine) >= min(8, sum(layer.kind == kind for layer in SPACE.layers))
    assert choose_clean_layers(reversed(SPACE.layers), 60) == chosen
    assert len(choose_clean_layers(SPACE.layers[:5], 60)) == 5


class PackingPhone:
    """Makes phones that profile packs: a layer takes ``excess`` times what it takes clean."""

    def __init__(self, folder: Path, layers: Sequence[Layer], networks: Sequence[Network]) -> None:
        models = export_packed(
            layers, networks, folder, PLAN, seed=0, exporter=make_exporter(), progress=silent
        )
        self.packs = {model.sha256: model for model, _ in models if model.role == "pack"}
        self.keys = {m.sha256: m.label for m, _ in models if m.role == "layer"}
        self.networks = {m.sha256: m.layers for m, _ in models if m.role == "network"}

    def latency_ns(self, sha256: str) -> float:
        if sha256 in self.networks:
            return 1.08 * sum(map(latency_of_sha256_ns, self.networks[sha256]))
        return latency_of_sha256_ns(self.keys[sha256])

    def profile(
        self, sha256: str, excess: Callable[[], float] = lambda: 1.16, spoiled: str = ""
    ) -> OpProfile:
        model, types, times = self.packs[sha256], list[str](), list[float]()
        for key, operators in zip(model.layers, model.operators, strict=True):
            shown = types_of(operators)
            types += shown
            times += [excess() * latency_of_sha256_ns(key) / len(shown)] * len(shown)
        if spoiled and model.label.startswith(spoiled):
            types[0] = "Softmax (NC, F32)"
        return profile_of(types, times)

    def phone(self, noise: float = 1e-3, **options: object) -> SimulatedPhone:
        return SimulatedPhone(
            latency_ns=self.latency_ns, noise=noise,
            profile=lambda sha256: self.profile(sha256, **options),  # type: ignore[arg-type]
        )  # fmt: skip


LAYERS = list(dict.fromkeys(SPACE.layers))[:40:3]
NETWORKS = [Network(tuple(LAYERS[:1])), Network(tuple(LAYERS[1:2]))]


@pytest.fixture
def phones(tmp_path: Path) -> PackingPhone:
    return PackingPhone(tmp_path, LAYERS, NETWORKS)


def run(phone: SimulatedPhone, directory: TableDirectory) -> LatencyTable:
    result = profile(phone, LAYERS, directory, networks=NETWORKS, plan=PLAN)
    assert result.validated == directory.load().is_validated
    return LatencyTable.load(result.table)


def test_a_table_of_packs_has_the_clean_latencies(
    phones: PackingPhone, directory: TableDirectory
) -> None:
    table = run(phones.phone(), directory)
    assert table.condition.method == "packed"
    assert len(table) == len(LAYERS)
    for layer in LAYERS:
        row = table.row(layer.key)
        assert row.hot_ms == pytest.approx(latency_of_sha256_ns(layer.key) / 1e6, rel=0.01)
        assert (row.cold_ms, row.visits, row.status) == (None, PLAN.shuffles, "ok")
    check = table.check
    assert check is not None
    assert check.scale == pytest.approx(1 / 1.16, rel=0.01)
    assert (check.layers, check.wanted, check.networks, check.discarded) == (6, 6, 2, 0)
    assert check.layer_error < 0.01
    assert table.is_validated
    assert table.calibration is not None
    assert table.calibration.scale == pytest.approx(1.08, rel=0.01)
    assert LatencyTable.from_bytes(table.to_bytes(), Path("x")) == table


def test_above_five_percent_a_table_is_unvalidated(
    phones: PackingPhone, directory: TableDirectory
) -> None:
    draw = random.Random(2)
    table = run(phones.phone(excess=lambda: draw.uniform(1.0, 2.0)), directory)
    assert table.check is not None
    assert table.check.layer_error > PLAN.tolerance
    assert not table.is_validated
    assert not table.check.holds
    assert "unstable" in table.rows["status"].to_pylist()


def test_rows_of_packs_scatter_as_deals_do_and_name_their_visits(
    phones: PackingPhone, directory: TableDirectory
) -> None:
    draw = random.Random(5)
    table = run(phones.phone(excess=lambda: draw.gauss(1.16, 0.02)), directory)
    with Journal.open(directory.journal) as journal:
        entries = journal.entries(table.condition)
    packs = {e.id for sha256 in phones.packs for e in entries[sha256]}
    for row in (table.row(layer.key) for layer in LAYERS):
        assert 0.01 < (row.relative_std or 0) < 0.06
        assert len(row.journal_rows) == row.visits == PLAN.shuffles
        assert packs.issuperset(row.journal_rows)
        assert row.sha256 in phones.packs
        assert row.samples == sum(
            e.outcome.profile.runs
            for some in entries.values()
            for e in some
            if e.id in row.journal_rows and isinstance(e.outcome, PackVisit)
        )
        assert (row.status == "unstable") == row.reason.startswith("values in 5 packs differ by")


def test_a_pack_in_doubt_gives_no_number(phones: PackingPhone, directory: TableDirectory) -> None:
    table = run(phones.phone(spoiled="deal 0"), directory)
    assert table.check is not None
    assert table.check.discarded == 4
    assert set(table.rows["visits"].to_pylist()) == {PLAN.shuffles - 1}
    with Journal.open(directory.journal) as journal:
        packs = [m for m in journal.models() if m.role == "pack"]
        visits = journal.visits(table.condition)
    assert all(len(visits[pack.sha256]) == 1 for pack in packs)  # kept as it came


def test_without_a_pack_beyond_doubt_there_is_no_table(
    phones: PackingPhone, directory: TableDirectory
) -> None:
    with pytest.raises(NotMeasured, match=r"deal \d pack-00\d.tflite was discarded: expected rows"):
        run(phones.phone(spoiled="deal"), directory)
    assert not (directory.path / "current").exists()


def test_a_packed_profile_goes_on_where_it_stopped(
    phones: PackingPhone, directory: TableDirectory
) -> None:
    phone = phones.phone()
    with pytest.raises(NotMeasured):
        profile(phone, LAYERS, directory, networks=NETWORKS, plan=PLAN, budget_s=0.0)
    told = list[str]()
    for _ in range(2):
        profile(
            phone, LAYERS, directory, networks=NETWORKS, plan=PLAN,
            announce=lambda forecast: told.append(str(forecast)),
        )  # fmt: skip
    assert told[0].startswith("14 layers and 2 networks by packs")
    assert told[1].startswith("0 layers and 0 networks by packs: 0 visits")
    with Journal.open(directory.journal) as journal:
        assert journal.count_visits() == phone.visits == 3 * 4 + 5 * (6 + 2)


def test_a_table_of_packs_predicts_and_is_validated_like_any_other(
    phones: PackingPhone, directory: TableDirectory, tmp_path: Path
) -> None:
    table = run(phones.phone(), directory)
    chosen = {str(n): Network((layer,)) for n, layer in enumerate(LAYERS[2:6])}
    more = PackingPhone(tmp_path / "more", LAYERS, list(chosen.values()))
    result = validate(more.phone(), table, chosen, directory.journal, plan=PLAN)
    assert result.mape_pct < 1
    with pytest.raises(ConditionMismatch, match=r"packs-of-4-scaled' \| 'median-of-5-packs-of-40"):
        validate(more.phone(), table, chosen, directory.journal)  # by the method's own numbers
    with pytest.raises(MissingLayers):
        compile_predictor(table, SPACE)
