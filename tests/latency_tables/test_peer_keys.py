"""Keys as the two published tables spell them, beside the layers that they price."""

from __future__ import annotations

import pytest

from latency_tables.peer_keys import Family, NotOneLayer, family_of, translate_key

PROXYLESS = {
    "Conv-input:224x224x3-output:112x112x32": "v1/conv/224x224x3/c32/k3/s2/relu6/se0/none",
    "Conv_1-input:7x7x320-output:7x7x1280": "v1/conv/7x7x320/c1280/k1/s1/relu6/se0/none",
    "Logits-input:7x7x1280-output:1000": "v1/classifier/7x7x1280/c1000/h0/linear",
    "expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0":
        "v1/separable/112x112x32/c16/k3/s1/relu6-linear/se0/none",
    "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:7-stride:2-idskip:0":
        "v1/bottleneck/112x112x16/c24/k7/s2/m48/relu6/se0/none",
    "expanded_conv-input:7x7x192-output:7x7x192-expand:6-kernel:5-stride:1-idskip:1":
        "v1/bottleneck/7x7x192/c192/k5/s1/m1152/relu6/se0/identity",
}  # fmt: skip
ONCE_FOR_ALL = {
    "Conv-input:224x224x3-output:112x112x24": "v1/conv/224x224x3/c24/k3/s2/hard-swish/se0/none",
    "Conv_1-input:7x7x192-output:7x7x1152": "v1/conv/7x7x192/c1152/k1/s1/hard-swish/se0/none",
    "expanded_conv-input:112x112x24-output:112x112x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0":
        "v1/separable/112x112x24/c24/k3/s1/relu-linear/se0/identity",
    "expanded_conv-input:14x14x136-output:7x7x192-expand:408-kernel:3-stride:2-idskip:0-se:1-hs:1":
        "v1/bottleneck/14x14x136/c192/k3/s2/m408/hard-swish/se104-hard-sigmoid/none",
    "expanded_conv-input:14x14x96-output:14x14x96-expand:288-kernel:5-stride:1-idskip:1-se:0-hs:1":
        "v1/bottleneck/14x14x96/c96/k5/s1/m288/hard-swish/se0/identity",
    "expanded_conv-input:15x15x24-output:8x8x40-expand:72-kernel:5-stride:2-idskip:0-se:1-hs:0":
        "v1/bottleneck/15x15x24/c40/k5/s2/m72/relu/se24-hard-sigmoid/none",
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "keys"), [("proxylessnas", PROXYLESS), ("once-for-all", ONCE_FOR_ALL)]
)
def test_published_keys_are_our_layers(family: Family, keys: dict[str, str]) -> None:
    assert family_of(keys) == family
    assert {key: translate_key(key, family).key for key in keys} == keys


@pytest.mark.parametrize(
    ("key", "family", "reason"),
    [
        ("AvgPool2D-input:7x7x1152-output:1x1x1152", "once-for-all", "a classifier is all three"),
        ("Conv_2-input:1x1x1152-output:1x1x1536", "once-for-all", "a classifier is all three"),
        ("Logits-input:1x1x1536-output:1000", "once-for-all", "a classifier is all three"),
        ("AvgPool2D-input:7x7x320-output:1x1x320", "proxylessnas", "not a key"),
        ("Conv-input:224x224x3-output:224x224x32", "proxylessnas", "gives 112x112x32"),
        ("Conv_1-input:7x7x320-output:4x4x1280", "proxylessnas", "gives 7x7x1280"),
        ("Conv-input:0x8x3-output:4x4x8", "proxylessnas", "not a key"),
        ("Conv-input:8x8x3-output:8", "proxylessnas", "gives 4x4x8"),
        ("LSTM-input:8x8x3", "proxylessnas", "not a key"),
        ("<class 'TypeError'>", "once-for-all", "not a key"),
        (next(reversed(PROXYLESS)).replace("idskip:1", "idskip:2"), "proxylessnas", "not a key"),
        (next(reversed(PROXYLESS)).replace("kernel:5", "kernel:4"), "proxylessnas", "is odd"),
        (next(reversed(PROXYLESS)).replace("stride:1", "stride:3"), "proxylessnas", "stride is 1"),
        (
            "expanded_conv-input:56x56x24-output:28x28x40-expand:6-kernel:5-stride:2-idskip:1",
            "proxylessnas", "needs stride 1",
        ),
        (
            "expanded_conv-input:56x56x24-output:27x27x40-expand:6-kernel:5-stride:2-idskip:0",
            "proxylessnas", "gives 28x28x40 by its sizes, 27x27x40 by its key",
        ),
    ],
)  # fmt: skip
def test_what_is_not_exactly_a_layer_has_its_reason(key: str, family: Family, reason: str) -> None:
    with pytest.raises(NotOneLayer, match=reason):
        translate_key(key, family)


def test_whose_table_is_told_by_its_blocks() -> None:
    assert family_of([*PROXYLESS, *ONCE_FOR_ALL]) is None
    assert family_of(["Conv-input:224x224x3-output:112x112x32"]) is None
