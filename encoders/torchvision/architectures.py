"""The names of torchvision's classification networks, without torch.

They are `torchvision.models.list_models(module=torchvision.models)` of torchvision 0.28; a test
compares the two.
"""

from __future__ import annotations

_REGNETS = ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")

NETWORKS: tuple[str, ...] = (
    "alexnet",
    *(f"convnext_{size}" for size in ("base", "large", "small", "tiny")),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *(f"efficientnet_b{number}" for number in range(8)),
    *(f"efficientnet_v2_{size}" for size in "lms"),
    "googlenet",
    "inception_v3",
    "maxvit_t",
    *(f"mnasnet{width}" for width in ("0_5", "0_75", "1_0", "1_3")),
    "mobilenet_v2",
    *(f"mobilenet_v3_{size}" for size in ("large", "small")),
    *(f"regnet_{kind}_{size}" for kind in "xy" for size in _REGNETS),
    "regnet_y_128gf",
    *(f"resnet{depth}" for depth in (101, 152, 18, 34, 50)),
    *(f"resnext{size}" for size in ("101_32x8d", "101_64x4d", "50_32x4d")),
    *(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")),
    *(f"squeezenet1_{version}" for version in (0, 1)),
    *(f"swin{version}_{size}" for version in ("", "_v2") for size in "bst"),
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *(f"vit_{size}" for size in ("b_16", "b_32", "h_14", "l_16", "l_32")),
    *(f"wide_resnet{depth}_2" for depth in (101, 50)),
)

PENULTIMATE = "penultimate"
"""The input of a network's last linear layer."""
