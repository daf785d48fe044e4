"""`join --data PATH --private`: what it weighs, what the question says, and that nothing of the text leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from peers.training.private import PrivateWork, require_allowed, told
from swarm.averaging.averager import Contribution
from swarm.errors import IncompatibleError
from swarm.run.manifest import Manifest
from tests.peers.real_swarm import make_run, step_of, swarm_of, wait_for
from tests.peers.whole_swarm import BATCH, Run

SECRET = "Xylophonquarz"
NAME = "my-diary-of-march"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Run.make(tmp_path_factory.mktemp("cache")).signed.manifest


class Fixed:
    loss = 1.5

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def contribution(self, step: int, averager: object) -> Contribution:
        return Contribution(np.ones(4, np.float32), weight=float(self.samples), samples=self.samples)


def shared(manifest: Manifest, share: float) -> Manifest:
    return manifest.model_copy(update={"join": manifest.join.model_copy(update={"private_share": share})})


@pytest.mark.parametrize(("samples", "weight"), [(2, 2.0), (12, 6.0), (0, 0.0)])
def test_it_weighs_at_most_the_manifests_share_of_a_batch(manifest: Manifest, samples: int, weight: float) -> None:
    work = PrivateWork(Fixed(samples), shared(manifest, 0.25))
    gift = work.contribution(3, None)  # type: ignore[arg-type]
    assert BATCH == 24
    assert (gift.weight, gift.samples) == (weight, samples)
    assert work.loss == 1.5, "this machine's own log has it"


def test_a_run_may_refuse_private_text(manifest: Manifest) -> None:
    require_allowed(manifest)
    with pytest.raises(IncompatibleError, match="without --private"):
        require_allowed(shared(manifest, 0.0))


def test_the_question_says_what_others_learn(manifest: Manifest) -> None:
    words = " ".join(" ".join(told(manifest)).split())
    for said in ("stays on this disk", "samples and tokens by language", "its gradients", "at most 10 % of a batch"):
        assert said in words


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_of_the_text_leaves_the_machine(tmp_path: Path) -> None:
    """A peer with private text and one without; all that the other one has, and all that was told, is searched."""
    text = tmp_path / "notes-of-mine"
    text.mkdir()
    rows = "".join(
        json.dumps({"text": f"{SECRET} was here on day {day}, and nobody saw it."}) + "\n" for day in range(80)
    )
    (text / "en").mkdir()
    (text / "en" / f"{NAME}.jsonl").write_text(rows, encoding="utf-8")
    with swarm_of(tmp_path / "swarm", make_run(tmp_path / "swarm", steps=1000, batch=64)) as swarm:
        swarm.seed()
        private = swarm.join("private", "--data", str(text), "--private", "--wait-for", "2")
        public = swarm.join("public", "--wait-for", "2")
        wait_for(lambda: min(step_of(private), step_of(public)) >= 9, 200, "nine steps together", private, public)
        records = look(swarm.link)
    (mine,) = [record for record in records if record["private"]]
    assert mine["role"] == "trainer"
    assert mine["total_samples"] > 0
    assert mine["loss"] is None
    assert not mine["loss_by_language"]
    assert not mine["validation_by_language"]
    assert set(mine["tokens_by_language"]) == {"en"}
    assert [record["loss"] for record in records if record["role"] == "trainer" and not record["private"]] != [None]
    said = json.dumps(records)
    hidden = [SECRET, NAME, str(text), text.name]
    assert not [word for word in hidden if word in said]
    for folder in ("public", "small"):
        for path in (tmp_path / "swarm" / folder).rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            assert not [word for word in hidden if word.encode() in data or word in path.name], path
    kept = [path for path in (tmp_path / "swarm" / "private" / "private").iterdir() if path.is_dir()]
    assert kept, "its tokens lie in its own folder"
    assert not (tmp_path / "swarm" / "private" / "contributions").exists()


def look(link: str) -> list[dict[str, object]]:
    """All records of the run, as a stranger reads them."""
    from peers.telling.progress import read_progress
    from swarm.network.host import Network
    from swarm.run.link import parse
    from swarm.trust.identity import Identity

    parsed = parse(link)
    network = Network(Identity.generate(), parsed.digest, initial_peers=parsed.peers, listen=(), client=True).start()
    try:
        return [record.model_dump(mode="json") for record in read_progress(network).values()]
    finally:
        network.close()
