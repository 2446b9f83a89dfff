"""ScheduledDropPath: cells that learn not to rely on one operator, as NASNet's are trained.

In training, the result of every operator of a cell but identity is set to zero with a probability
that grows with the depth of its cell and with the progress of the training, for each image alone;
what is kept is scaled up so that its mean stays.

    keep(cell)           = 1 - (cell + 1) / cells x (1 - keep)
    keep(cell, progress) = 1 - progress x (1 - keep(cell))

Sources: Zoph et al. 2018 (arXiv 1707.07012), appendix A; the formulas are those of "v3" in
tensorflow/models' slim.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from networks.cells import CellPath
from networks.torch_module import GraphModule


def keep_probability(keep: float, *, cell: int, cells: int, progress: float) -> float:
    """Return the probability that a path is kept, see the module.

    Args:
        keep: that of the last cell at the end.
        cell: from 0 to ``cells - 1``.
        progress: share of the training that is done, in [0, 1].
    """
    in_cell = 1 - (cell + 1) / cells * (1 - keep)
    return 1 - min(1.0, progress) * (1 - in_cell)


class ScheduledDropPath:
    """Drops paths of a module in training mode; set `progress` as the training goes on."""

    def __init__(self, module: GraphModule, paths: Sequence[CellPath], keep: float) -> None:
        self.progress = 0.0
        self._module, self._keep = module, keep
        self._cells = 1 + max(path.cell for path in paths)
        sides: dict[int, list[CellPath]] = defaultdict(list)
        for path in paths:
            sides[path.operator].append(path)
        for operator, reads in sides.items():
            module.step(operator).register_forward_pre_hook(_Hook(self, reads))

    def drop(self, value: Tensor, cell: int) -> Tensor:
        """Return ``value`` with the images of some dropped; in evaluation mode, as it is."""
        if not self._module.training:
            return value
        keep = keep_probability(self._keep, cell=cell, cells=self._cells, progress=self.progress)
        kept = torch.rand(len(value), 1, 1, 1) < keep
        return value * (kept.to(value.dtype) / keep)


class _Hook:
    """Drops what one operator reads."""

    def __init__(self, owner: ScheduledDropPath, paths: Sequence[CellPath]) -> None:
        self._owner, self._paths = owner, paths

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values = list(inputs)
        for path in self._paths:
            values[path.read] = self._owner.drop(values[path.read], path.cell)
        return tuple(values)
