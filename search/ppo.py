"""PPO: proximal policy optimization of the controller, as MnasNet and NASNet search.

    sample architectures -> reward -> advantage -> a few epochs of clipped policy gradient

Schulman et al. 2017, equation 7, with one step of the episode a decision. What
`PPOSearch.figures` reports of an update, beside what every `search.policy.PolicySearch` does:

    entropy      mean entropy of a decision, in nats, before the update; uniform over k is ln k
    approx_kl    mean of ratio - 1 - log ratio over decisions and gradient steps: how far, in
                 nats, the policy has moved from the one that proposed (Schulman 2020)
    clip_share   share of decisions, over gradient steps, whose ratio left 1 +- clip
    loss         mean of the loss over gradient steps
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search.controller import score
from search.policy import PolicySearch


@dataclass(frozen=True, slots=True)
class PPOSettings:
    """The numbers of PPO.

    Args:
        learning_rate: of Adam.
        batch: architectures an update.
        minibatch: architectures a gradient step.
        epochs: passes over the batch an update.
        clip: how far the ratio of new to old probability counts.
        entropy_weight: of the entropy bonus, which is a mean over decisions.
        baseline_decay: of the moving average that is subtracted from rewards.
        normalise: whether advantages are divided by their standard deviation in the batch,
            and centred.
    """

    learning_rate: float
    batch: int
    minibatch: int
    epochs: int
    clip: float
    entropy_weight: float
    baseline_decay: float
    normalise: bool


PRESETS: Mapping[str, PPOSettings] = {
    # Rate, batch of 20, entropy weight and baseline decay: NASNet, appendix A. Clip and epochs are
    # not given there: Schulman et al. 2017, section 6.1 (0.2) and its Atari settings (3).
    "paper": PPOSettings(
        learning_rate=0.00035,
        batch=20,
        minibatch=20,
        epochs=3,
        clip=0.2,
        entropy_weight=1e-5,
        baseline_decay=0.95,
        normalise=False,
    ),
    # Ours, for hundreds of evaluations: chosen by `benchmarks.searchers_synthetic`'s measure among
    # some 15 settings, on synthetic additive objectives only, and frozen.
    "small-budget": PPOSettings(
        learning_rate=0.002,
        batch=10,
        minibatch=10,
        epochs=4,
        clip=0.2,
        entropy_weight=0.05,
        baseline_decay=0.95,
        normalise=True,
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """The PPO loss, to be minimized, and what is logged of it (no gradient)."""

    total: Tensor
    approx_kl: Tensor
    clip_share: Tensor


def ppo_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    entropy: Tensor,
    *,
    clip: float,
    entropy_weight: float,
) -> Loss:
    """Return ``-mean(min(r A, clip(r, 1 - clip, 1 + clip) A)) - entropy_weight mean(entropy)``.

    Args:
        log_probs: of the choices now, shape ``(n, n_decisions)``.
        old_log_probs: when they were proposed, same shape.
        advantages: of the architectures, shape ``(n,)``.
        entropy: of the decisions now, shape ``(n, n_decisions)``.
    """
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    advantages = advantages[:, None]
    gain = torch.minimum(ratio * advantages, clipped * advantages).mean()
    with torch.no_grad():
        approx_kl = (ratio - 1 - log_ratio).mean()
        clip_share = ((ratio - 1).abs() > clip).float().mean()
    return Loss(-gain - entropy_weight * entropy.mean(), approx_kl, clip_share)


class PPOSearch(PolicySearch[PPOSettings]):
    """See the module, and `search.policy.PolicySearch`."""

    name = "ppo"

    def update(
        self, choices: Tensor, old_log_probs: Tensor, advantages: Tensor
    ) -> Mapping[str, float]:
        """Take some epochs of steps over minibatches."""
        settings = self.settings
        losses: list[Loss] = []
        entropies: list[float] = []
        for _ in range(settings.epochs):
            order = torch.randperm(len(choices), generator=self.generator)
            for rows in torch.split(order, settings.minibatch):
                log_probs, entropy = score(self.controller, choices[rows])
                loss = ppo_loss(
                    log_probs,
                    old_log_probs[rows],
                    advantages[rows],
                    entropy,
                    clip=settings.clip,
                    entropy_weight=settings.entropy_weight,
                )
                self.step(loss.total)
                losses.append(loss)
                entropies.append(float(entropy.detach().mean()))
        return {
            "entropy": entropies[0],
            "approx_kl": float(np.mean([float(loss.approx_kl) for loss in losses])),
            "clip_share": float(np.mean([float(loss.clip_share) for loss in losses])),
            "loss": float(np.mean([float(loss.total.detach()) for loss in losses])),
        }
