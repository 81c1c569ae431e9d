"""Options of the GPU plugins: defaults, what follows from what, and what is refused."""

import pytest

from fofa.errors import UserError
from profilers.plugin import PluginOptions
from profilers.plugins.gpu_options import GpuOptions


def test_options_take_defaults_and_refuse_what_makes_no_sense():
    assert GpuOptions.of("cuda", PluginOptions(), dtype="fp32") == GpuOptions(
        batch_size=64, dtype="fp32", l2="warm", graphs=False, launch="included"
    )
    chosen = PluginOptions(batch_size=1, dtype="fp16", extra={"l2": "cold", "graphs": "on"})
    assert GpuOptions.of("cuda", chosen, dtype="fp32") == GpuOptions(
        batch_size=1, dtype="fp16", l2="cold", graphs=True, launch="hidden"
    )


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("graphs", ["on", "off", None])
@pytest.mark.parametrize("launch", ["hidden", "included", None])
def test_launches_are_hidden_where_a_graph_is_replayed_unless_chosen(default, graphs, launch):
    given = {"graphs": graphs, "launch": launch}
    extra = {name: value for name, value in given.items() if value is not None}
    options = GpuOptions.of("x", PluginOptions(extra=extra), dtype="fp16", graphs=default)
    assert options.graphs == ((graphs == "on") if graphs else default)
    assert options.launch == (launch or ("hidden" if options.graphs else "included"))
    fields = options.protocol_fields()
    assert (fields["launch"], fields["cuda_graphs"]) == (options.launch, options.graphs)
    assert fields["copies"] == "excluded"


@pytest.mark.parametrize(
    ("dtype", "chosen", "expected"),
    [
        ("fp32", None, "contiguous"),
        ("fp16", None, "channels_last"),
        ("fp32", "channels_last", "channels_last"),
        ("fp16", "contiguous", "contiguous"),
    ],
)
def test_channels_last_is_a_choice(dtype, chosen, expected):
    extra = {"memory_format": chosen} if chosen else {}
    options = PluginOptions(dtype=dtype, extra=extra)
    found = GpuOptions.of("cuda", options, dtype="fp32", memory_formats=True)
    assert found.memory_format == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": {"graph": "on"}}, "unknown options graph; known: graphs, l2, launch"),
        ({"extra": {"l2": "hot"}}, "l2 'hot', expected warm or cold"),
        ({"extra": {"graphs": "yes"}}, "graphs 'yes', expected off or on"),
        ({"extra": {"launch": "no"}}, "launch 'no', expected hidden or included"),
        ({"extra": {"memory_format": "contiguous"}}, "unknown options memory_format"),
        ({"dtype": "int8"}, "dtype 'int8', expected fp32 or fp16"),
        ({"batch_size": 0}, "batch size 0"),
        ({"threads": 4}, "no number of threads"),
        ({"source": "x"}, "no source"),
    ],
)
def test_an_option_that_is_not_possible_is_named(options, message):
    with pytest.raises(UserError, match=message):
        GpuOptions.of("cuda", PluginOptions(**options), dtype="fp32")
