"""One peer's own choices: flags win over the file, and a wrong one is told like a wrong configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.errors import ConfigError
from swarm.settings import Settings, load_settings
from swarm.trust.identity import Identity

PEER = f"/ip4/203.0.113.7/tcp/4001/p2p/{Identity.generate().peer_id}"


def test_the_defaults_need_nothing() -> None:
    settings = load_settings()
    assert settings == Settings()
    assert settings.device == "auto"
    assert settings.listen == ("/ip4/0.0.0.0/tcp/0",)


def test_flags_win_over_the_file_and_none_is_no_flag(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('device = "cuda:1"\nmicro_batch = 4\ndata = "corpus"\n')
    settings = load_settings(path, device="cpu", micro_batch=None, initial_peers=(PEER,), cache=tmp_path)
    assert (settings.device, settings.micro_batch, settings.data) == ("cpu", 4, Path("corpus"))
    assert settings.initial_peers == (PEER,)
    assert settings.cache == tmp_path


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"device": "gpu"}, 'settings: device: \'gpu\' has the wrong form; write "auto", "cpu", "cuda"'),
        ({"micro_batch": 0}, "micro_batch: 0 is below 1; write a number of at least 1"),
        ({"metrics_port": 70000}, "metrics_port: 70000 is above 65535"),
        (
            {"listen": ["0.0.0.0:4001"]},
            "listen: '0.0.0.0:4001' does not begin with /; write it like /ip4/0.0.0.0/tcp/4001",
        ),
        ({"listen": [PEER]}, "names a peer id; leave out /p2p/..."),
        ({"announce": ["/ip4/1.2.3.4"]}, "names no /tcp or /udp port"),
        ({"initial_peers": ["/ip4/1.2.3.4/tcp/1"]}, "does not end in /p2p/<peer id>"),
        ({"upload_mbit": "fast"}, "upload_mbit: 'fast' is not a number"),
        ({"upload_mbit": 0}, "upload_mbit: 0 is not above 0"),
        ({"private": True}, "drop private"),
        ({"client": True, "announce": ["/ip4/1.2.3.4/tcp/1"]}, "nothing can be announced"),
        ({"log_format": "xml"}, "'xml' is not one of 'plain' or 'json'"),
        ({"microbatch": 3}, "microbatch is an unknown key; did you mean micro_batch?"),
    ],
)
def test_a_wrong_choice_is_told(flags: dict, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(**flags)
    assert words in str(error.value)
