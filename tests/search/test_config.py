from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.config import RunConfig, format_config, parse_config
from search.errors import NotARun, RewardError, RunError, UnknownSearcher
from search.rewards import make_reward

text = st.text(max_size=20)
scalars = st.one_of(text, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(-1e9, 1e9))
configs = st.builds(
    RunConfig,
    space=text,
    latency=text,
    evaluator=text,
    searcher=text,
    reward=st.builds(
        lambda kind, ms: make_reward(kind, target_ms=ms),
        st.sampled_from(["absolute", "hard", "soft"]),
        st.floats(0.1, 1e3),
    ),
    budget=st.integers(1, 10**6),
    batch=st.integers(1, 100),
    seed=st.integers(0, 2**62),
    preset=st.none() | text,
    settings=st.dictionaries(text, scalars, max_size=4),
)

WRITTEN = """
[search]
space = "mnasnet"
latency = "table:pixel"
evaluator = "imagenet-proxy"
searcher = "ppo"
budget = 200

[reward]
kind = "hard"
target_ms = 78
"""


@settings(max_examples=30)
@given(configs, st.dictionaries(text, text, max_size=3))
def test_parsing_inverts_formatting(config: RunConfig, parts: dict[str, str]) -> None:
    assert parse_config(format_config(config, parts)) == (config, parts)


def test_what_is_not_given_has_a_default() -> None:
    config, parts = parse_config(WRITTEN)
    assert config == RunConfig(
        space="mnasnet",
        latency="table:pixel",
        evaluator="imagenet-proxy",
        searcher="ppo",
        reward=make_reward("hard", target_ms=78),
        budget=200,
    )
    assert parts == {}


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('searcher = "ppo"', 'sercher = "ppo"', NotARun, "no key 'sercher'; .*searcher"),
        ("budget = 200", "", NotARun, "needs 'budget'"),
        ("target_ms = 78", "", NotARun, "needs 'target_ms'"),
        ("target_ms = 78", "target_ms = nan", RewardError, "positive number, found nan"),
        ('"hard"', '"herd"', UnknownSearcher, "did you mean hard"),
        ("budget = 200", "budget = 0", RunError, "whole number of at least 1, found 0"),
        ("budget = 200", 'budget = "many"', RunError, "budget is a whole number .* found 'many'"),
        ('"mnasnet"', "3", RunError, "space is text, found 3"),
        ("target_ms = 78", 'target_ms = "78"', NotARun, "target_ms is a number, found '78'"),
        ("[reward]", "[reward", NotARun, "a configuration is TOML"),
        ("[reward]", "format = 2\n[reward]", NotARun, "no key 'format'"),
    ],
)
def test_bad_configurations_get_one_clear_line(
    old: str, new: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_config(WRITTEN.replace(old, new))
