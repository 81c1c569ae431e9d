"""What comes back is believed only as far as it was checked."""

import json

import pytest
import remote_machines

from fofa.errors import UserError
from profilers.remote.samples import MAX_LINE_BYTES, SampleReader, read_run


@pytest.fixture(scope="module")
def lines(finished):
    return [json.loads(line) for line in finished.read_text().splitlines()]


def feed(lines, bundle=None):
    reader = SampleReader("here", bundle)
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    reader.feed(text.encode("utf-8", errors="surrogateescape"))
    return reader.finish()


def changed(record, *path, to):
    """A copy of a record with one value changed, added or (with None) taken away."""
    copy = json.loads(json.dumps(record))
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return copy


def test_whole_samples_are_read_with_and_without_the_bundle(lines, bundle):
    assert feed(lines).rounds == feed(lines, bundle).rounds


def test_pieces_of_any_size_give_the_same(lines, finished, bundle):
    reader, data = SampleReader("here", bundle), finished.read_bytes()
    for start in range(0, len(data), 777):
        reader.feed(data[start : start + 777])
    assert reader.finish() == feed(lines, bundle)


def test_the_request_that_comes_back_is_the_one_that_went(lines):
    request = feed(lines).header.request.request()
    sent = remote_machines.request()
    assert (request.space, request.config, request.settings) == (
        sent.space,
        sent.config,
        sent.settings,
    )
    assert request.device.name == "pi4"


HEADERS = {
    "a path for a name": (("request", "device"), "../../etc/passwd"),
    "escape codes for a name": (("machine", "cpu", "model"), "\x1b[2Jowned"),
    "a long name": (("machine", "cpu", "model"), "x" * 100_000),
    "a huge number": (("machine", "cpu", "memory_bytes"), 10**300),
    "another runtime": (("runtime",), "onnxruntime 1.20; rm -rf /"),
    "another bundle": (("bundle",), "0" * 64),
    "other items": (("items",), "0" * 64),
    "a field of its own": (("out",), "/etc/passwd"),
    "unknown settings": (("request", "settings", "folder"), 1.0),
    "a huge space": (("request", "space", "resolutions"), list(range(8, 4000))),
    "a huge width": (("request", "space", "width_mult"), 1e30),
    "too many rounds": (("plan", "rounds"), 10**9),
    "too many warm-up runs": (("plan", "warmup_runs"), 10**9),
    "no canary": (("plan", "canary_every"), 10**9),
    "a newer format": (("schema",), "fofa.remote/99"),
    "heat": (("before", "temperatures_c"), {"cpu": 1e9}),
    "a thousand sensors": (("before", "temperatures_c"), {str(n): 1.0 for n in range(1000)}),
    "a word for a number": (("before", "memory_available_bytes"), "12"),
    "a GPU of its own": (("machine", "gpus"), [{"name": "A100"}]),
    "cores": (("pinned_cores",), [-1]),
}


@pytest.mark.parametrize("fault", HEADERS)
@pytest.mark.parametrize("known", [True, False], ids=["bundle at hand", "imported"])
def test_a_hostile_header_is_one_clear_error(lines, bundle, fault, known):
    path, value = HEADERS[fault]
    if fault == "another bundle" and not known:
        pytest.skip("nothing is known of the bundle")
    with pytest.raises(UserError) as caught:
        feed([changed(lines[0], *path, to=value), *lines[1:]], bundle if known else None)
    message = str(caught.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 1000


ROUNDS = {
    "another round": (("round",), 3),
    "no time at all": (("visits", 0, 2, 0), 0.0),
    "negative time": (("visits", 0, 2, 0), -1.0),
    "years": (("visits", 0, 2, 0), 1e12),
    "more runs": (("visits", 0, 2), [1.0] * 1000),
    "no runs": (("visits", 0, 2), []),
    "an unknown item": (("visits", 1, 0), 10_000),
    "another order": (("visits", 1, 0), 0),
    "no visits": (("visits",), []),
    "time that runs back": (("visits", 2, 1), -5.0),
    "load": (("other_cpu_percent",), 1e12),
    "negative load": (("steal_percent",), -1.0),
    "a state of its own": (("state",), {"gpu": {"sm_clock_mhz": 1}}),
    "a million profilers": (("other_profilers",), 10**6),
    "text for a number": (("visits", 0, 2, 0), "1.0"),
    "a field of its own": (("path",), "/etc/passwd"),
}


@pytest.mark.parametrize("fault", ROUNDS)
def test_a_hostile_round_is_one_clear_error(lines, bundle, fault):
    path, value = ROUNDS[fault]
    with pytest.raises(UserError, match="here: line 2") as caught:
        feed([lines[0], changed(lines[1], *path, to=value), *lines[2:]], bundle)
    assert "\n" not in str(caught.value)


RAW = {
    "nothing": "",
    "an empty line": "\n",
    "no JSON": "hello\n",
    "a list": "[]\n",
    "deep": "[" * 100_000 + "\n",
    "not text": "\udcff\udcfe\n",
    "a line without an end": "x" * (MAX_LINE_BYTES + 1),
    "long digits": '{"schema": ' + "9" * 10_000 + "}\n",
}


@pytest.mark.parametrize("fault", RAW)
def test_what_is_no_samples_at_all_is_one_clear_error(fault):
    with pytest.raises(UserError) as caught:
        feed([RAW[fault]])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(lines, value):
    text = json.dumps(changed(lines[1], "visits", 0, 2, 0, to=0)).replace("[0, ", f"[{value}, ", 1)
    text = text if value in text else text.replace("[0]", f"[{value}]", 1)
    assert value in text
    with pytest.raises(UserError, match="here: line 2"):
        feed([lines[0], text + "\n", *lines[2:]])


def test_unfinished_samples_say_how_far_they_are(lines):
    with pytest.raises(UserError, match="3 of 6 rounds are finished; run the agent again"):
        feed(lines[:4])


def test_nothing_comes_after_the_end(lines):
    with pytest.raises(UserError, match="comes after the end"):
        feed([*lines, lines[-1]])


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_run(tmp_path / "none.jsonl")
