"""A release on the Hugging Face Hub: the exported folder as one commit, by the login that the user already has.

Only what `export` wrote goes there. A new repository is private unless the user says otherwise: what was public once
cannot be taken back. One that exists keeps its visibility.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import ConfigError, NetworkError
from swarm.release.hub import quiet

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "hf_xet")  # whose errors have no common base that is not private
REPO = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")


def require_repo(name: str) -> str:
    """ConfigError where no repository can be called so."""
    if not REPO.fullmatch(name) or ".." in name or "--" in name or name.endswith((".git", ".", "-")):
        raise ConfigError(f"--push {name[:80]!r} is no repository's name; write it as user/model")
    return name


def require_login(api: HfApi) -> None:
    """Before anything is written: ConfigError without a login, NetworkError where the Hub cannot be asked."""
    _asked("your login", api.whoami)


def publish(folder: Path, repo: str, *, public: bool, message: str, api: HfApi) -> str:
    """The commit's address. ConfigError (not allowed), NetworkError (not reached); the folder stays as it is."""
    made = _asked(repo, lambda: api.create_repo(repo, private=not public, exist_ok=True))
    commit = _asked(repo, lambda: api.upload_folder(folder_path=folder, repo_id=made.repo_id, commit_message=message))
    return str(commit.commit_url)


def _asked(what: str, call: Callable[[], Any]) -> Any:
    """What `call` gives; the Hub's own errors in one line of ours."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        with quiet():
            return call()
    except LocalTokenNotFoundError:
        raise ConfigError("you are not logged in to the Hub: run `hf auth login`, or set HF_TOKEN") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status == 401:
            raise ConfigError("the Hub does not take your token: run `hf auth login` again") from None
        if status in (403, 404, 409):
            raise ConfigError(
                f"the Hub refuses {what} ({status}): {_first(error)}; check its name and your token's rights"
            ) from None
        raise NetworkError(f"the Hub could not take {what}: {_first(error)}; try again") from None
    except (OSError, ValueError) as error:  # not reached; a proxy's page instead of an answer
        raise NetworkError(f"the Hub could not be reached for {what}: {_first(error)}; check the network") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        raise NetworkError(f"the Hub could not be reached for {what}: {_first(error)}; check the network") from None


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
