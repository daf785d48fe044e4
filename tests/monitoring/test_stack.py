"""Alertmanager, Grafana's provisioning and compose.yaml: valid, and they fit each other and the files beside them."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml
from live_prometheus import MONITORING, require

from monitoring.problems import PROBLEMS


def load(*parts: str) -> Any:
    return yaml.safe_load(MONITORING.joinpath(*parts).read_text(encoding="utf-8"))


SERVICES = load("compose.yaml")["services"]


def test_amtool_accepts_the_alertmanager_s_configuration() -> None:
    file = MONITORING / "alertmanager" / "alertmanager.yml"
    checked = subprocess.run(
        [require("amtool"), "check-config", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "operators"), ("warning", "operators"), ("info", "nobody")]
)
def test_where_an_alert_goes_follows_from_its_severity(severity: str, receiver: str) -> None:
    file = MONITORING / "alertmanager" / "alertmanager.yml"
    asked = ["config", "routes", "test", f"--config.file={file}", f"severity={severity}", "run=abcd"]
    routed = subprocess.run([require("amtool"), *asked], capture_output=True, text=True, check=False)
    assert routed.stdout.strip() == receiver


def test_alerts_that_are_kept_quiet_exist() -> None:
    words = [m for rule in load("alertmanager", "alertmanager.yml")["inhibit_rules"] for m in rule["target_matchers"]]
    named = {name for word in words if "alertname" in word for name in word.split('"')[1].split("|")}
    assert named
    assert named <= {problem.alert for problem in PROBLEMS}


@pytest.mark.parametrize("service", SERVICES)
def test_compose_mounts_what_is_there_read_only_pins_its_images_and_stays_on_loopback(service: str) -> None:
    about = SERVICES[service]
    name, _, tag = about["image"].partition(":")
    assert name
    assert tag[-1:].isdigit(), f"{about['image']} is not pinned"
    assert about["network_mode"] == "host"
    listens = [word for word in about.get("command", ()) if "web.listen-address" in word]
    listens += [f"={value}:" for key, value in about.get("environment", {}).items() if key == "GF_SERVER_HTTP_ADDR"]
    assert len(listens) == 1
    assert "=127.0.0.1:" in listens[0]
    for volume in about["volumes"]:
        source, _, rest = volume.partition(":")
        if source.startswith("./"):
            assert (MONITORING / source).is_dir(), source
            assert rest.endswith(":ro"), volume
        else:
            assert source in load("compose.yaml")["volumes"]


def test_addresses_and_paths_agree() -> None:
    (source,) = load("grafana", "provisioning", "datasources", "prometheus.yml")["datasources"]
    assert source["url"].removeprefix("http://") in SERVICES["prometheus"]["command"][1]
    assert source["jsonData"]["timeInterval"] == load("prometheus", "prometheus.yml")["global"]["scrape_interval"]
    alerting = load("prometheus", "prometheus.yml")["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert f"--web.listen-address={alerting[0]}" in SERVICES["alertmanager"]["command"]
    (provider,) = load("grafana", "provisioning", "dashboards", "bloomswarm.yml")["providers"]
    mounted = dict(reversed(volume.split(":")[:2]) for volume in SERVICES["grafana"]["volumes"])
    folder = MONITORING / mounted[provider["options"]["path"]]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert {path.name for path in folder.glob("*.json")} == {"operator.json", "volunteer.json"}
    assert (folder / home.rpartition("/")[2]).is_file()
    assert home.startswith(provider["options"]["path"] + "/")
