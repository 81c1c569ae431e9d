"""The engine cache: kept, found again, built anew when damaged, kept within its limit."""

import os
from pathlib import Path

import pytest

from profilers.plugins.engine_cache import EngineCache, cache_folder, engine_key


class Builder:
    """Counts how often an engine is built."""

    def __init__(self, engine=b"engine"):
        self.engine = engine
        self.built = 0

    def __call__(self):
        self.built += 1
        return self.engine


def test_an_engine_is_built_once(tmp_path):
    build = Builder()
    assert EngineCache(tmp_path / "new").get("key", build) == b"engine"
    assert EngineCache(tmp_path / "new").get("key", build) == b"engine"
    assert build.built == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:32],
    ],
)
def test_a_damaged_entry_is_built_anew(tmp_path, damage, caplog):
    cache, build = EngineCache(tmp_path), Builder()
    cache.get("key", build)
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert cache.get("key", build) == b"engine"
    assert build.built == 2
    assert "damaged" in caplog.text
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    build = Builder()
    assert EngineCache(tmp_path / "file").get("key", build) == b"engine"
    assert "not kept" in caplog.text


def test_the_longest_unused_engines_make_room(tmp_path):
    cache = EngineCache(tmp_path, limit_bytes=3 * (1000 + 32))
    for age, key in enumerate("abc"):
        cache.get(key, Builder(bytes(1000)))
        os.utime(tmp_path / f"{key}.engine", (age, age))
    cache.get("a", Builder())  # used again, so b is now the oldest
    cache.get("d", Builder(bytes(1000)))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_a_discarded_engine_is_built_anew(tmp_path):
    cache, build = EngineCache(tmp_path), Builder()
    cache.get("key", build)
    cache.discard("key")
    cache.discard("never there")
    cache.get("key", build)
    assert build.built == 2


def test_notes_are_kept_whole_or_not_at_all(tmp_path, caplog):
    cache = EngineCache(tmp_path / "new")
    assert cache.read_notes("a.timings") == b""
    cache.note("a.timings", b"one")
    cache.note("a.timings", b"two")
    assert EngineCache(tmp_path / "new").read_notes("a.timings") == b"two"
    [file] = (tmp_path / "new").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert cache.read_notes("a.timings") == b""
    assert "damaged" in caplog.text
    (tmp_path / "file").write_text("in the way")
    EngineCache(tmp_path / "file").note("a.timings", b"one")
    assert "timings not kept" in caplog.text


def test_the_key_depends_on_the_model_and_every_setting():
    settings = {"version": "1.7", "dtype": "fp16", "compute_capability": "8.0"}
    keys = {engine_key(b"model", **settings), engine_key(b"other", **settings)}
    for name in settings:
        keys.add(engine_key(b"model", **(settings | {name: "different"})))
    assert len(keys) == 5
    assert engine_key(b"model", **dict(reversed(settings.items()))) in keys


def test_the_folder_follows_the_environment():
    home = Path.home()
    assert cache_folder({}) == home / ".cache" / "fofa" / "engines"
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/fofa/engines")
    both = {"XDG_CACHE_HOME": "/x", "FOFA_CACHE_DIR": "/y"}
    assert cache_folder(both) == Path("/y/engines")


@pytest.mark.parametrize("what", ["folder", "file"])
def test_an_engine_that_another_user_could_have_put_there_is_not_loaded(tmp_path, what, caplog):
    cache, build = EngineCache(tmp_path / "engines"), Builder()
    cache.get("key", build)
    [path] = cache.folder.iterdir()
    (path if what == "file" else cache.folder).chmod(0o777)
    assert cache.get("key", build) == b"engine"
    assert build.built == 2
    assert "another user can write it" in caplog.text


def test_a_link_in_the_cache_is_neither_loaded_nor_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"content")
    cache, build = EngineCache(tmp_path / "engines"), Builder()
    cache.folder.mkdir()
    cache.folder.chmod(0o777)
    (cache.folder / "key.engine").symlink_to(victim)
    assert cache.get("key", build) == b"engine"
    assert victim.read_bytes() == b"content"


def test_a_cache_folder_elsewhere_may_be_linked(tmp_path):
    (tmp_path / "large disk").mkdir(mode=0o700)
    (tmp_path / "engines").symlink_to(tmp_path / "large disk")
    build = Builder()
    for _ in range(2):
        EngineCache(tmp_path / "engines").get("key", build)
    assert build.built == 1
