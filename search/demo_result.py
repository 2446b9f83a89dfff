"""Demo result: what the demo is asked for, and what each of its steps found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device_agents.measurement import DEFAULT_PLAN, Condition, ResidentPlan
from exporters.exporter import ExportedModel
from latency_tables.end_to_end import EndToEnd
from latency_tables.exact import PricedSpace
from latency_tables.predictor import Prediction
from latency_tables.validation import Validation
from networks.spaces.chain import ChainSpace
from search.finalists import FinalistsResult
from search.run import SearchResult
from search.training import TrainingSettings
from search.trials import Trial

Floats = npt.NDArray[np.float64]

SPACE = "accel-nasbench"
REFERENCE = "mobilenet-v2"
PUBLISHED = (
    "mobilenet-v1,width=0.5", "mobilenet-v1", "mobilenet-v2,width=0.5", "mobilenet-v2",
    "mobilenet-v2,width=1.4", "mobilenet-v3-large", "mnasnet-small", "mnasnet-a1", "mnasnet-b1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """How much of everything; the budgets are wall-clock seconds."""

    resolution: int = 224
    published: Sequence[str] = PUBLISHED
    plan: ResidentPlan = DEFAULT_PLAN
    profile_budget_s: float = 150.0
    evaluations: int = 3_000
    train_seeds: int = 3
    training: TrainingSettings = field(default_factory=TrainingSettings)
    training_budget_s: float | None = 280.0
    held_out_images: int | None = None


FULL = DemoSettings()
QUICK = DemoSettings(
    resolution=64,
    published=("mobilenet-v1,width=0.5", "mobilenet-v2", "mnasnet-b1"),
    plan=replace(DEFAULT_PLAN, min_visits=6, max_visits=12, min_span_s=0.5),
    profile_budget_s=20.0,
    evaluations=200,
    training=TrainingSettings(train_images=512, batch=32, epochs=2.0),
    training_budget_s=None,
    held_out_images=200,
)


@dataclass(frozen=True, slots=True)
class Profiled:
    """The first step: the table, its check on published networks, and the target it sets."""

    table: Path
    validation: Validation
    target_ms: float


@dataclass(frozen=True, slots=True)
class Deployed:
    """The last step: the best network trained, exported, and run on the device.

    ``agreement`` is the share of test images that the exported file and torch classify alike.
    """

    model: ExportedModel
    prediction: Prediction
    measured: EndToEnd
    accuracy_torch: float
    accuracy_tflite: float
    agreement: float


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What each step found."""

    out: Path
    profiled: Profiled
    priced: PricedSpace
    runs: Mapping[str, SearchResult]
    best: Trial
    finalists: FinalistsResult
    finalists_ms: Mapping[str, float]
    deployed: Deployed
    at_full_size: tuple[Prediction, EndToEnd]
    condition: Condition
    wall_s: float

    @property
    def space(self) -> ChainSpace:
        """The space that was searched."""
        return self.priced.space

    @property
    def report(self) -> Path:
        """The page."""
        return self.out / "report.html"

    def to_dict(self) -> dict[str, object]:
        """Return the keys of ``hilnas demo --json``."""
        deployed = self.deployed
        return {
            "table": str(self.profiled.table),
            "run": str(self.runs[self.best.searcher.partition(":")[0]].run),
            "model": str(deployed.model.path),
            "report": str(self.report),
            "predicted_ms": deployed.prediction.latency_ms,
            "measured_ms": deployed.measured.latency_ms,
            "accuracy_torch": deployed.accuracy_torch,
            "accuracy_tflite": deployed.accuracy_tflite,
            "agreement": deployed.agreement,
            "target_ms": self.profiled.target_ms,
            "mape_pct": self.profiled.validation.mape_pct,
            "finalists": self.finalists.to_dict(),
            "wall_s": self.wall_s,
        }
