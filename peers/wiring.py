"""The composition root: the one place that picks implementations, from the manifest and this peer's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers.folders import home
from peers.run_folder import RunFolder
from peers.training.compiling import compile_beside
from peers.training.device import choose_device, further_devices
from peers.training.evaluator import Evaluator, Validation
from peers.training.local_work import LocalWork
from peers.training.overlapped_work import OverlappedWork
from peers.training.private import CACHE, PrivateWork, require_allowed
from peers.training.replicas import Replicas
from peers.training.work import GradientWork
from swarm.averaging.averager import Averager
from swarm.data.batches import Batches
from swarm.data.held_out import HeldOut, held_out
from swarm.data.plan import Plan
from swarm.data.private import PrivateBatches, own_languages, private_batches
from swarm.data.sources import languages_of
from swarm.data.stock import check_stock
from swarm.data.store import open_store
from swarm.data.tokenizer import load as load_tokenizer
from swarm.durable import remove_stale
from swarm.errors import CheckpointError, DataError, ResourceError
from swarm.model.bloom import model_from_vector, starting_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.inner import ADAMW_8BIT_BYTES, ADAMW_BYTES, InnerOptimizer
from swarm.model.memory import MicroBatch
from swarm.model.precision import best_precision
from swarm.network.host import Network
from swarm.records import ProgressRecord
from swarm.run.manifest import Manifest, SignedManifest
from swarm.run.portable import LOCAL_KINDS
from swarm.run.schema import RunConfig
from swarm.run.sizing import activation_bytes, parameters, show_bytes
from swarm.settings import Settings
from swarm.state.checkpoint import Checkpoint, load, saved
from swarm.state.shared import SharedState

if TYPE_CHECKING:
    import torch

    from swarm.trust.endorsement import Endorsement

MICRO_BATCH_TOKENS = {"cpu": 512, "mps": 2048, "cuda": 16_384}  # at once: more is no faster, and holds rounds up
SENT = "contributions"  # folder of what this peer gave, beside its checkpoints
MEMORY_SHARE = 0.5  # of what is free: optimizer, rounds and other programs want some, too
Say = Callable[[str], None]


def reading(
    manifest: Manifest, tokenizer: bytes, settings: Settings, *, peer_id: str, folder: Path, say: Say
) -> Batches | PrivateBatches:
    """What this peer trains on: the run's text by the plan, or private text of its own. folder: the peer's."""
    if not settings.private:
        return training_data(manifest, tokenizer, settings, peer_id, say)
    require_text(manifest, settings)
    assert settings.data is not None
    return private_batches(
        manifest.data,
        load_tokenizer(tokenizer),
        manifest.model.sequence_length,
        folder=settings.data,
        cache=folder / CACHE,
        progress=say,
    )


def require_text(manifest: Manifest, settings: Settings) -> None:
    """Is there text to train on? Looks at names of files only. DataError; IncompatibleError: no private text here."""
    if settings.private:
        require_allowed(manifest)
        assert settings.data is not None
        own_languages(manifest.data, settings.data)
        return
    local = [(index, source) for index, source in enumerate(manifest.data.sources) if source.kind in LOCAL_KINDS]
    if settings.data is not None and not local:
        raise DataError("the run's text comes with it, --data would not be read; leave it out, or add --private")
    for index, source in local:
        if settings.data is None:
            raise DataError(f"data.sources[{index}] of the run is text on its peers' disks; name your copy with --data")
        languages_of(source, settings.data)


def training_data(manifest: Manifest, tokenizer: bytes, settings: Settings, peer_id: str, say: Say) -> Batches:
    """This peer's samples, from text that is the run's to the last byte. DataError where it is not."""
    require_text(manifest, settings)
    store = open_store(
        manifest.data,
        load_tokenizer(tokenizer),
        manifest.model.sequence_length,
        root=settings.data,
        cache=settings.cache or home() / "cache",
        progress=say,
    )
    check_stock(store.stock, manifest.data.stock)
    return Batches(store, Plan(manifest.data, manifest.training.global_batch, manifest.training.steps), peer_id)


def starting_state(folder: Path, signed: SignedManifest, say: Say) -> tuple[SharedState, Checkpoint | None]:
    """The state of this peer's newest usable checkpoint, or that of step 0."""
    remove_stale(folder)
    for path in saved(folder):
        try:
            checkpoint = load(path, expected_manifest=signed.digest)
        except CheckpointError as error:
            say(f"Passed over a checkpoint: {error}")
            continue
        return checkpoint.state, checkpoint
    return initial_state(folder.parent, signed.manifest), None


def initial_state(folder: Path, manifest: Manifest) -> SharedState:
    """The state of step 0. folder: the peer's, which holds the weights of a run that serves them."""
    return SharedState.initial(manifest, starting_vector(manifest.model, RunFolder(folder).weights()))


def accumulator(manifest: Manifest, state: SharedState, settings: Settings, say: Say) -> GradientAccumulator:
    """The model on its device, with the parameters of `state`, ready to add up gradients."""
    import torch

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = choose_device(settings.device, say)
    precision = best_precision(device) if settings.precision == "auto" else settings.precision
    if (device.type, precision) != ("cpu", "float32"):
        say(f"Computing on {device} in {precision}.")
    model = model_from_vector(manifest.model, state.parameters, device)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    others = further_devices(settings.device)
    if not others:
        return GradientAccumulator(model, state.layout, precision=precision)
    say(f"Computing on {', '.join(others)} as well: one peer.")
    return Replicas(
        model,
        state.layout,
        manifest.model,
        others=others,
        precision=precision,
        checkpointing=settings.gradient_checkpointing,
    )


def work(
    manifest: Manifest,
    state: SharedState,
    batches: Batches,
    settings: Settings,
    *,
    tell: Callable[[int], None],
    leaving: Callable[[], object],
    say: Say,
    folder: Path | None = None,
) -> GradientWork | LocalWork | PrivateWork:
    """What the manifest's `training.mode` names; with private text it weighs less. folder: this peer's, to compile."""
    sums = accumulator(manifest, state, settings, say)
    size = micro_batch(manifest, settings, say, device=sums.device, devices=sums.devices)
    if folder is not None:
        compile_beside(manifest, settings, sums, size.size, folder=folder, say=say, resting=leaving)
    made: GradientWork | LocalWork
    if manifest.training.mode == "gradient":
        kind = OverlappedWork if manifest.training.overlap else GradientWork
        made = kind(state, sums, batches, size, tell, leaving)
    else:
        inner = inner_optimizer(manifest, sums, settings, say)
        made = LocalWork(manifest, state, sums, inner, batches, micro_batch=size, tell=tell, leaving=leaving)
    return PrivateWork(made, manifest) if settings.private else made


def evaluator(
    signed: SignedManifest,
    tokenizer: bytes,
    settings: Settings,
    *,
    version_at: Callable[[int], Manifest],
    peer_id: str,
    told: Callable[[Validation], None],
    say: Say,
    resting: Callable[[], object],
) -> Evaluator:
    """Who measures held-out text when it is this peer's turn. version_at: which version of the run counts at a step."""
    loaded = load_tokenizer(tokenizer)

    def opened(version: Manifest) -> HeldOut | None:
        if settings.private:  # its --data is no text of the run's
            return None
        return held_out(
            version.data,
            settings.data,
            loaded,
            sequence_length=version.model.sequence_length,
            sequences=version.training.validation_sequences,
        )

    device = choose_device(settings.device, lambda words: None)
    parts: dict[str, Any] = {"peer_id": peer_id, "device": device, "told": told, "say": say, "resting": resting}
    return Evaluator(signed, loaded, opened, version_at=version_at, **parts)


def inner_optimizer(manifest: Manifest, sums: GradientAccumulator, settings: Settings, say: Say) -> InnerOptimizer:
    """The one asked for; where bitsandbytes cannot be used, torch's, which takes more memory, and that is said."""
    try:
        return InnerOptimizer(sums.model, sums.layout, manifest.optimizer, kind=settings.inner_optimizer)
    except ResourceError as error:
        held = show_bytes(sums.layout.size * (ADAMW_BYTES - ADAMW_8BIT_BYTES))
        say(f"{error}. Going on with torch's AdamW, which takes {held} more.")
    return InnerOptimizer(sums.model, sums.layout, manifest.optimizer)


def micro_batch(
    manifest: RunConfig,
    settings: Settings,
    say: Say,
    *,
    device: torch.device | None = None,
    free: int | None = None,
    devices: int = 1,
) -> MicroBatch:
    """Samples computed at once: the setting, else what keeps the devices busy, as far as the memory of one allows.

    free: bytes of the device's memory; None: as it is now, with the model and its gradients already there.
    """
    from swarm.model.memory import device_free

    if settings.micro_batch is not None:
        return MicroBatch(settings.micro_batch, say)
    kind, training = device.type if device is not None else "cpu", manifest.training
    wanted = devices * max(1, MICRO_BATCH_TOKENS[kind] // manifest.model.sequence_length)
    most = training.local.inner_batch if training.mode == "local" else training.global_batch
    sample = activation_bytes(manifest.model, checkpointing=settings.gradient_checkpointing)
    left = (device_free(device) if free is None else free) - moments_bytes(manifest, settings)
    room = max(0, int(MEMORY_SHARE * left))
    fits = devices * max(1, room // sample)
    if fits < min(wanted, most):
        say(f"{show_bytes(room)} of memory for activations: computing {fits} samples at a time.")
    return MicroBatch(min(fits, wanted, most), say)


def moments_bytes(manifest: RunConfig, settings: Settings) -> int:
    """What the inner optimizer of mode "local" will take on the device at its first step."""
    if manifest.training.mode != "local":
        return 0
    each = ADAMW_BYTES if settings.inner_optimizer == "adamw" else ADAMW_8BIT_BYTES
    return each * parameters(manifest.model)


def averager(
    manifest: Manifest,
    network: Network,
    state: SharedState,
    progress: Callable[[], Mapping[str, ProgressRecord]],
    *,
    folder: Path,
    checkpoint: Checkpoint | None,
    endorsed: Endorsement | None = None,
    settings: Settings,
) -> Averager:
    """What the manifest's `averaging.algorithm` names. progress: the records of all that take part.

    folder: this peer's. checkpoint: the one that `state` comes from. endorsed: a state to begin from, if that one is
    older.
    """
    if manifest.averaging.algorithm == "hivemind":
        from swarm.averaging.hivemind import HivemindAverager

        return HivemindAverager(network, manifest, state.layout.size, progress=progress)
    from swarm.averaging.live.averager import RoundAverager
    from swarm.averaging.live.kept import Keeper
    from swarm.averaging.live.positions import position_from_bytes
    from swarm.averaging.live.start import Start, Surroundings

    start = Start.genesis(manifest, folder / "log")
    if checkpoint is not None:
        position = position_from_bytes(bytes.fromhex(str(checkpoint.extra.get("position", ""))))
        start = Start(position, folder / "log", checkpoint.path)
    if endorsed is not None and endorsed.step > state.step:
        start = Start(endorsed.at(), folder / "log", root=bytes.fromhex(endorsed.root))
    if not settings.private:  # else nobody could compute it again
        start = replace(
            start, keeper=Keeper(folder / SENT, manifest.training.checkpoint_every, settings.keep_checkpoints)
        )
    return RoundAverager(
        network,
        manifest,
        state.layout,
        span_digests=state.span_digests,
        root=state.root,
        start=start,
        surroundings=Surroundings(progress, bandwidth=1e6 * (settings.upload_mbit or 0.0)),
    )
