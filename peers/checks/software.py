"""Python and packages: the versions that this release asks for, and nothing else in the place of our own."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from peers.checks.finding import Finding, fail, ok, warn

DISTRIBUTION = "bloomswarm"
OURS = ("swarm", "peers", "monitoring")
OPTIONAL = {
    "bitsandbytes": "the 8-bit inner optimizer and hivemind's codecs",
    "matplotlib": "the demo's loss curve",
    "numba": "compiled codec and update, so rounds compute longer",
}
INSTALL = "make install"


class PythonVersion:
    name = "python"

    def __init__(self, version: str | None = None, wanted: str | None = None) -> None:
        self.version, self.wanted = version or platform.python_version(), wanted

    def look(self) -> Finding:
        wanted = self.wanted or _declared_python()
        if wanted and not SpecifierSet(wanted).contains(self.version, prereleases=True):
            fix = "install Python 3.11 or 3.12, then: make clean install PYTHON=python3.11"
            return fail(self.name, f"Python {self.version}, this release needs {wanted}", fix, version=self.version)
        return ok(self.name, f"Python {self.version}", version=self.version)


class Packages:
    """requirements: as in pyproject.toml; None: those of the installed distribution."""

    name = "packages"

    def __init__(self, requirements: Sequence[str] | None = None, version: Callable[[str], str] | None = None) -> None:
        self.requirements, self.version = requirements, version or metadata.version

    def look(self) -> Finding:
        wanted = self.requirements if self.requirements is not None else _declared()
        if wanted is None:
            return warn(self.name, f"{DISTRIBUTION} itself is not installed, so versions are not known", INSTALL)
        problems, lacking, found = [], [], {}
        for requirement in _applicable(wanted):
            problem, version = self._compare(requirement)
            found[requirement.name] = version
            if problem and version is None and requirement.name in OPTIONAL:
                lacking.append(f"{requirement.name} is missing: no {OPTIONAL[requirement.name]}")
            elif problem:
                problems.append((problem, requirement))
        if problems:
            fix = "pip install " + " ".join(
                f"'{requirement.name}{requirement.specifier}'" for _, requirement in problems
            )
            return fail(self.name, "; ".join(problem for problem, _ in problems), fix, versions=found)
        if lacking:
            return warn(self.name, "; ".join(lacking), INSTALL, versions=found)
        return ok(self.name, f"{len(found)} packages, each in its range", versions=found)

    def _compare(self, requirement: Requirement) -> tuple[str, str | None]:
        try:
            version = self.version(requirement.name)
        except metadata.PackageNotFoundError:
            return f"{requirement.name} is missing ({requirement.specifier} is needed)", None
        if requirement.specifier.contains(version, prereleases=True):
            return "", version
        why = ": it silently breaks 8-bit averaging" if requirement.name == "numpy" else ""
        return f"{requirement.name} {version} is not {requirement.specifier}{why}", version


class Shadows:
    """Another distribution that brings a package of one of our names: which one is imported is then a matter of luck.

    owners: top-level name -> distributions, as importlib.metadata has it.
    """

    name = "shadows"

    def __init__(self, owners: Mapping[str, Sequence[str]] | None = None) -> None:
        self.owners = owners

    def look(self) -> Finding:
        owners = self.owners if self.owners is not None else metadata.packages_distributions()
        others = {
            name: sorted({dist for dist in owners.get(name, ()) if dist.lower() != DISTRIBUTION}) for name in OURS
        }
        taken = {name: dists for name, dists in others.items() if dists}
        if not taken:
            return ok(self.name, f"nothing else is called {', '.join(OURS)}")
        told = "; ".join(f"{' and '.join(dists)} also brings a package {name!r}" for name, dists in taken.items())
        fix = "pip uninstall " + " ".join(sorted({dist for dists in taken.values() for dist in dists}))
        return fail(self.name, told, f"{fix}   (or use an environment of its own: make install)", others=taken)


def _declared() -> list[str] | None:
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None


def _declared_python() -> str | None:
    try:
        return metadata.metadata(DISTRIBUTION).get("Requires-Python")
    except metadata.PackageNotFoundError:
        return None


def _applicable(requirements: Sequence[str]) -> list[Requirement]:
    """Those for this machine, without extras."""
    found = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # of a release that writes them in a way which this version of packaging does not know
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(requirement)
    return found
