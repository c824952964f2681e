"""`uv.lock` read as a graph: which versions an environment holds, without asking uv or the network."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[1]
LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
EXTRA = re.compile(r"extra (==|!=) '([^']*)'")
ALWAYS, NEVER = "python_version >= '3'", "python_version < '3'"


class Lock:
    """The lock file of a workspace.

    Attributes:
        document: the file as TOML.
        members: names of the workspace's packages.
    """

    def __init__(self, path: Path) -> None:
        self.document = tomllib.loads(path.read_text(encoding="utf-8"))
        self.members: list[str] = self.document["manifest"]["members"]
        self._entries: dict[str, list[dict]] = {}
        for entry in self.document["package"]:
            self._entries.setdefault(entry["name"], []).append(entry)

    def environment(
        self,
        member: str,
        python: str = "3.11",
        platform: Mapping[str, str] = LINUX,
        *,
        extras: Iterable[str] = (),
        groups: Iterable[str] = (),
    ) -> dict[str, dict]:
        """What `uv sync --package <member>` installs: entries of the lock by name, the member's own included.

        Args:
            member: name of a package of the workspace.
            python: its minor version.
            platform: values of markers, such as `sys_platform`.
            extras: of the member, besides its plain dependencies.
            groups: dependency groups of the member, likewise.
        """
        markers = {**platform, "python_version": python, "python_full_version": f"{python}.0"}
        size, extras = len(member), tuple(extras)
        # Packages and extras in `[tool.uv] conflicts` are extras of this spelling.
        active = {f"project-{size}-{member}", *(f"extra-{size}-{member}-{extra}" for extra in extras)}
        (root,) = self._entries[member]
        found = {member: root}
        queue = [*_wanted(root, extras), *(one for group in groups for one in root["dev-dependencies"][group])]
        followed = set()
        while queue:
            wanted = queue.pop()
            if not _applies(wanted.get("marker"), markers, active):
                continue
            entry = self._entry(wanted)
            name, more = entry["name"], tuple(wanted.get("extra", ()))
            assert found.setdefault(name, entry) is entry, f"{member}: two versions of {name} in one environment"
            if (name, more) not in followed:
                followed.add((name, more))
                queue += _wanted(entry, more)
        return found

    def whole_environment(
        self, member: str, python: str = "3.11", platform: Mapping[str, str] = LINUX
    ) -> dict[str, dict]:
        """The environment of a package with all of its extras and dependency groups."""
        (root,) = self._entries[member]
        extras, groups = root.get("optional-dependencies", ()), root.get("dev-dependencies", ())
        return self.environment(member, python, platform, extras=extras, groups=groups)

    def _entry(self, wanted: dict) -> dict:
        (entry,) = [one for one in self._entries[wanted["name"]] if wanted.get("version") in (None, one["version"])]
        return entry


def _wanted(entry: dict, extras: Iterable[str]) -> Iterator[dict]:
    yield from entry.get("dependencies", ())
    for extra in extras:
        yield from entry["optional-dependencies"][extra]


@cache
def _parsed(marker: str) -> Marker:
    return Marker(marker)


def _applies(marker: str | None, environment: Mapping[str, str], active: set[str]) -> bool:
    """Whether a marker holds where several extras are active, which `Marker.evaluate` cannot be told."""
    if marker is None:
        return True
    plain = EXTRA.sub(lambda found: ALWAYS if (found[2] in active) == (found[1] == "==") else NEVER, marker)
    return _parsed(plain).evaluate(dict(environment))
