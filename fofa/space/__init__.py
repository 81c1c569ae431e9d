"""The search space: families, names, subnets, enumeration, sampling, block descriptions and costs.

Pure Python and framework-free: importing it loads no torch. MACs and parameters are computed from
the description alone (`macs`, `params`).
"""

from fofa.space.blocks import BlockKey, BlockSpec, make_divisible
from fofa.space.cost import block_macs, block_params, macs, params
from fofa.space.family import (
    EFFICIENTNET_LITE0,
    FAMILIES,
    MOBILENETV3,
    PROXYLESS,
    Family,
    SpaceKind,
)
from fofa.space.network import NetworkConfig, architecture_blocks, network_blocks
from fofa.space.spaces import (
    DEFAULT_RESOLUTIONS,
    SearchSpace,
    check_resolutions,
    compound_subnets,
    sample_compound,
    sample_elastic,
)
from fofa.space.subnet import (
    Architecture,
    BlockChoice,
    Subnet,
    parse_architecture,
    parse_subnet,
)

__all__ = [
    "DEFAULT_RESOLUTIONS",
    "EFFICIENTNET_LITE0",
    "FAMILIES",
    "MOBILENETV3",
    "PROXYLESS",
    "Architecture",
    "BlockChoice",
    "BlockKey",
    "BlockSpec",
    "Family",
    "NetworkConfig",
    "SearchSpace",
    "SpaceKind",
    "Subnet",
    "architecture_blocks",
    "block_macs",
    "block_params",
    "check_resolutions",
    "compound_subnets",
    "macs",
    "make_divisible",
    "network_blocks",
    "params",
    "parse_architecture",
    "parse_subnet",
    "sample_compound",
    "sample_elastic",
]
