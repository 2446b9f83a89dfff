"""Controller: the recurrent policy that writes an architecture one decision at a time.

    start -> LSTM -> head 0 -> choice 0
    embedding of choice 0 -> LSTM -> head 1 -> choice 1
    embedding of choice 1 -> LSTM -> head 2 -> choice 2   ...

Zoph et al. 2018 (NASNet), appendix A, which MnasNet uses as it is: one LSTM layer of 100 units,
all weights from U(-0.1, 0.1). Each choice is the next step's input, so the first choice changes
the distribution of the second. Every decision has a head and embeddings of its own.

`sample` draws architectures; `score` gives the log-probabilities of given ones, in one call of
the LSTM over the whole sequence. They agree, so a policy gradient may use either.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

UNITS = 100
INITIAL_RANGE = 0.1


class Controller(nn.Module):
    """The parameters of the policy.

    Args:
        options: number of options of each decision.
        generator: of the initial weights.
    """

    offsets: Tensor
    impossible: Tensor

    def __init__(
        self, options: Sequence[int], *, generator: torch.Generator, units: int = UNITS
    ) -> None:
        super().__init__()
        decisions, most = len(options), max(options)
        self.start = nn.Parameter(torch.empty(units))
        self.embedding = nn.Embedding(sum(options), units)
        self.lstm = nn.LSTM(units, units, batch_first=True)
        self.head_weight = nn.Parameter(torch.empty(decisions, most, units))
        self.head_bias = nn.Parameter(torch.empty(decisions, most))
        sizes = torch.tensor(options)
        self.register_buffer("offsets", torch.cumsum(sizes, 0) - sizes)
        self.register_buffer("impossible", torch.arange(most) >= sizes[:, None])
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-INITIAL_RANGE, INITIAL_RANGE, generator=generator)

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Return those of every option of every decision, shape ``(n, n_decisions, options)``.

        Decisions with fewer options than others have probability 0 beyond their own.

        Args:
            hidden: the LSTM's output, shape ``(n, n_decisions, units)``.
        """
        logits = torch.einsum("ndu,dou->ndo", hidden, self.head_weight) + self.head_bias
        return logits.masked_fill(self.impossible, -torch.inf).log_softmax(-1)


@torch.no_grad()
def sample(controller: Controller, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return ``n`` architectures and the log-probability of each of their choices.

    Returns:
        Options, int64, and log-probabilities, both of shape ``(n, n_decisions)``.
    """
    decisions, most = controller.head_bias.shape
    # The largest of log p - log E, with E exponential, is at an option with probability p.
    noise = torch.empty(n, decisions, most).exponential_(generator=generator).log()
    step, state = controller.start.expand(n, 1, -1), None
    choices, log_probs = [], []
    for decision in range(decisions):
        hidden, state = controller.lstm(step, state)
        logits = hidden[:, 0] @ controller.head_weight[decision].T + controller.head_bias[decision]
        log_p = logits.masked_fill(controller.impossible[decision], -torch.inf).log_softmax(-1)
        choice = (log_p - noise[:, decision]).argmax(-1, keepdim=True)
        choices.append(choice)
        log_probs.append(log_p.gather(-1, choice))
        step = controller.embedding(choice + controller.offsets[decision])
    return torch.cat(choices, 1), torch.cat(log_probs, 1)


def score(controller: Controller, genotypes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each choice, and the entropy it was drawn with.

    Args:
        genotypes: options, int64, shape ``(n, n_decisions)``.

    Returns:
        Both in nats, of shape ``(n, n_decisions)``; gradients flow through both.
    """
    start = controller.start.expand(len(genotypes), 1, -1)
    chosen = controller.embedding(genotypes[:, :-1] + controller.offsets[:-1])
    hidden, _ = controller.lstm(torch.cat([start, chosen], 1))
    log_p = controller.log_probabilities(hidden)
    entropy = -(log_p.exp() * log_p.masked_fill(controller.impossible, 0.0)).sum(-1)
    return log_p.gather(-1, genotypes[..., None])[..., 0], entropy
