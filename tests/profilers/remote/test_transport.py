"""Addresses, and the limits of what a transport takes from over there."""

import pytest
import remote_machines

from fofa.errors import UserError
from profilers.remote.transport import (
    MAX_ANSWER_BYTES,
    Adb,
    LinkError,
    Local,
    Ssh,
    is_address,
    parse_address,
    readable,
)


@pytest.mark.parametrize(
    ("address", "transport"),
    [
        ("ssh://pi@raspberry.local", Ssh("pi@raspberry.local")),
        ("ssh://board:2222", Ssh("board", 2222)),
        ("ssh://pi@[fe80::1]:22/", Ssh("pi@fe80::1", 22)),
        ("adb:emulator-5554", Adb("emulator-5554")),
        ("adb:192.168.1.5:5555", Adb("192.168.1.5:5555")),
    ],
)
def test_addresses(address, transport):
    assert is_address(address)
    assert parse_address(address) == transport


@pytest.mark.parametrize(
    "address",
    [
        "ssh://",
        "ssh:board",
        "ssh://-oProxyCommand=touch%20x",
        "ssh://pi@-oProxyCommand=x",
        "ssh://a b",
        "ssh://board:0",
        "ssh://board:99999",
        "ssh://board/folder",
        "ssh://pi:secret@board",
        "adb:",
        "adb:-s",
        "adb:a b",
        "adb:$(touch x)",
        "local:/tmp",
    ],
)
def test_what_is_no_address_is_told_with_the_forms_there_are(address):
    assert is_address(address)
    with pytest.raises(UserError, match=r"expected ssh://user@host\[:port\], adb:SERIAL or local:"):
        parse_address(address)


def test_ssh_asks_for_nothing_and_takes_the_host_as_a_host():
    command = list(Ssh("pi@board", 2222).command("true"))
    assert "BatchMode=yes" in command
    assert command[command.index("--") + 1] == "pi@board"
    assert command[command.index("-p") + 1] == "2222"


def test_answers_are_bytes_and_a_status():
    answer = Local().run("printf 'a\\n\\0b'; exit 7")
    assert (answer.status, answer.output) == (7, b"a\n\0b")


def test_what_a_login_says_before_and_after_is_no_answer(tmp_path, monkeypatch):
    remote_machines.write_program(
        tmp_path / "ssh", 'for last; do :; done; echo Welcome; sh -c "$last"; echo Bye'
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Ssh("board").run("echo hello").output == b"hello\n"


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("exit 255", LinkError, "no answer"),
        ("echo 'Permission denied (publickey).' >&2; exit 255", LinkError, "Permission denied"),
        ('for last; do :; done; sh -c "$last" | head -c 30', LinkError, "no answer"),
        ("yes", UserError, f"more than {MAX_ANSWER_BYTES} bytes"),
        ("yes >&2", UserError, "more than 65536 bytes"),
        ("printf '\\033[2Jowned\\n' >&2; exit 255", LinkError, r"\?\[2Jowned"),
    ],
)
def test_faults_of_a_link(tmp_path, monkeypatch, script, error, message):
    remote_machines.write_program(tmp_path / "ssh", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(error, match=message) as caught:
        Ssh("board").run("echo hello")
    assert str(caught.value).isprintable()


def test_who_never_answers_is_not_waited_for():
    with pytest.raises(LinkError, match="no answer within"):
        Local().run("sleep 600", timeout=0.3)


def test_what_is_shown_is_one_line():
    assert readable(b"a\tb\n\x1b[31mc\xff") == "a b ?[31mc\ufffd"
    assert len(readable(b"x" * 10_000)) == 300
