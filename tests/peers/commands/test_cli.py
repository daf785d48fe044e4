"""The command line as a person meets it: quick help, one clear line for each mistake, documented exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from click.testing import CliRunner

from peers.cli import COMMANDS, bloomswarm, main

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "peers", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def here(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """As `run`, for one mistake of many: in this process, where torch is imported once."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err), chdir(cwd):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def page_of(*command: str) -> str:
    """What `--help` prints, without a process of its own: there are many commands."""
    result = CliRunner().invoke(bloomswarm, [*command, "--help"], prog_name="bloomswarm")
    assert result.exit_code == 0, result.output
    return result.output


def assert_one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("bloomswarm: ")
    return lines[0]


@pytest.mark.alone
def test_help_answers_in_half_a_second() -> None:
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        result = run("--help")
        seconds.append(time.perf_counter() - began)
        assert result.returncode == 0
    assert min(seconds) < 0.5, seconds
    for name in COMMANDS:
        assert name in result.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_has_help_with_an_example(name: str) -> None:
    page = page_of(name, "show") if name == "identity" else page_of(name)
    assert f"bloomswarm {name}" in page
    assert "Example" in page


def test_no_command_imports_torch_before_it_works() -> None:
    code = "import sys, importlib\nfrom peers.cli import COMMANDS\n"
    code += "for module, _ in COMMANDS.values(): importlib.import_module(module)\n"
    code += "assert not {'torch', 'hivemind', 'numpy'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", [(), ("identity",)])
def test_nothing_but_a_name_gives_its_help(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == run(*arguments, "--help").stdout
    assert result.stdout.startswith(" ".join(("Usage: bloomswarm", *arguments, "[OPTIONS]")))


def test_a_configuration_that_is_not_there_and_those_that_are(tmp_path: Path) -> None:
    line = assert_one_line(run("create", "smal", "--dir", str(tmp_path / "run")), 3)
    assert "smal: there is no such file" in line
    assert " small " in line


@pytest.mark.parametrize("command", [("eval",), ("export", "--to", "x"), ("sign", "run")])
def test_what_is_no_checkpoint_is_said_before_anything_is_loaded(command: tuple[str, ...], tmp_path: Path) -> None:
    assert "is not a checkpoint folder" in assert_one_line(run(*command, str(tmp_path)), 8)


def test_unknown_command_and_flag_are_usage_errors() -> None:
    assert "frobnicate" in assert_one_line(run("frobnicate"), 2)
    assert "--bogus" in assert_one_line(run("demo", "--bogus"), 2)


def test_with_json_an_error_is_an_object_too() -> None:
    told = {("status", "bloomswarm:", "--json"): (5, "LinkError"), ("status", "--json", "--bogus"): (2, "UsageError")}
    for arguments, (code, kind) in told.items():
        result = run(*arguments)
        assert (result.returncode, result.stdout) == (code, "")
        error = json.loads(result.stderr)
        assert (error["code"], error["error"]) == (code, kind)
        assert error["words"]


def test_missing_configuration(tmp_path: Path) -> None:
    line = assert_one_line(run("create", "absent.toml", "--dir", str(tmp_path / "run")), 3)
    assert "absent.toml" in line
    assert not (tmp_path / "run").exists()


def test_misspelt_key_names_path_and_remedy(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "configs" / "tiny.toml").read_text(encoding="utf-8")
    config = tmp_path / "mine.toml"
    config.write_text(text.replace("learning_rate", "lerning_rate"), encoding="utf-8")
    line = assert_one_line(here("create", str(config), "--dir", str(tmp_path / "run")), 3)
    assert "lerning_rate" in line
    assert "learning_rate" in line
    assert not (tmp_path / "run").exists()


def test_create_needs_a_place(tmp_path: Path) -> None:
    assert "--dir" in assert_one_line(here("create", "tiny"), 3)


def test_create_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("mine", encoding="utf-8")
    line = assert_one_line(here("create", "tiny", "--dir", str(tmp_path / "run")), 3)
    assert "not empty" in line
    assert (tmp_path / "run" / "precious").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "link", ["", "bloomswarm:", "http://example.org", "bloomswarm:00?peer=/ip4/1.2.3.4", "x" * 9999]
)
def test_malformed_link(link: str, tmp_path: Path) -> None:
    assert_one_line(here("join", link, "--yes", "--dir", str(tmp_path / "peer")), 5)
    assert not (tmp_path / "peer").exists()


def test_demo_refuses_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert "--dir" in assert_one_line(here("demo", "--dir", str(tmp_path)), 3)


def test_dry_run_prints_what_bloom_needs() -> None:
    result = run("create", "configs/bloom-560m.toml", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "559,214,592" in result.stdout
