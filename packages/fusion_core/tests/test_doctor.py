"""`fusion-core doctor` on a made-up workspace: uv, programs and Pythons are scripts that say what they are told."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
from fusion_core import doctor
from fusion_core.cli import app
from fusion_core.doctor import State
from fusion_core.running import environments
from program_kit.weights_folder import StoredFile, WeightsRecord, folder_of
from typer.testing import CliRunner

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs acted here are shell scripts")

HEALTHY = """\
msda-ops 0.1.0, torch 2.15.0
CUDA driver: not visible
Paths:
  cpu float32: C++ kernels with avx2 instructions; off the twin by 3e-07
  cpu float64: C++ kernels with avx2 instructions; off the twin by 4e-16
Self-check: ok
"""
PROGRAMS = {
    "soc": ("soc-infer",),
    "mutr": ("mutr-infer",),
    "referformer": ("referformer-infer",),
    "uninext": ("uninext-infer",),
    "aot_deaot": ("aot-propagate", "deaot-propagate"),
    "cutie": ("cutie-propagate",),
    "grounded_sam2": ("grounded-sam2-infer", "sam2-propagate"),
}


def script(path, output="", code=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.with_name(path.name + ".txt")
    text.write_text(output)
    path.write_text(f'#!/bin/sh\ncat "{text}"\nexit {code}\n')
    path.chmod(0o755)


class Workspace:
    """The packages of all programs with environments that are up to date, on a machine with uv and without a GPU."""

    def __init__(self, root):
        self.root = root
        self.tools = root / "tools"
        for package, names in PROGRAMS.items():
            project = root / "packages" / package / "pyproject.toml"
            project.parent.mkdir(parents=True)
            scripts = "".join(f'{name} = "x:main"\n' for name in names)
            project.write_text(f'[project]\nname = "{package}"\nversion = "1.0"\n[project.scripts]\n{scripts}')
            self.environment(package, names)
        self.uv("")

    def environment(self, package, names):
        folder = self.root / ".venvs" / package
        for name in names:
            script(folder / "bin" / name, "Usage: ...")
        script(folder / "bin" / "python", HEALTHY)
        (folder / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.11.7\n")
        for distribution, version in {package: "1.0", "torch": "2.9.0", "msda_ops": "0.1.0"}.items():
            info = folder / "lib" / "python3.11" / "site-packages" / f"{distribution}-{version}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")

    def uv(self, plan, code=0):
        """`uv --version` and `uv sync --dry-run` say this; a plan goes to standard error, as uv's does."""
        (self.root / "plan.txt").write_text(plan)
        path = self.tools / "uv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo uv 9.9; exit 0; fi\n'
            f'echo "$@" >> "{self.root}/calls.txt"\ncat "{self.root}/plan.txt" >&2\nexit {code}\n'
        )
        path.chmod(0o755)

    def findings(self, area=None):
        return [finding for finding in doctor.examine(self.root / "runs") if area in (None, finding.area)]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    made = Workspace(tmp_path)
    cat = shutil.which("cat")
    (made.tools / "cat").symlink_to(cat)
    monkeypatch.setenv("PATH", str(made.tools))
    for name in ("UV", "UV_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub_home"))
    monkeypatch.setattr(environments, "_workspace", lambda: tmp_path)
    environments._packages_by_script.cache_clear()
    yield made
    environments._packages_by_script.cache_clear()


def problems(findings):
    return [finding for finding in findings if finding.state is State.PROBLEM]


def test_a_healthy_workspace(workspace):
    findings = workspace.findings()
    assert problems(findings) == []
    areas = ["machine", "devices", "tools", "environments", "programs", "kernels", "weights", "downloads", "disk"]
    assert list(dict.fromkeys(finding.area for finding in findings)) == areas
    found = {(one.area, one.subject): one.text for one in findings}
    assert found["environments", "soc"] == "soc 1.0, Python 3.11.7, torch 2.9.0, msda-ops 0.1.0; up to date"
    assert found["kernels", "soc on cpu"] == "C++ kernels with avx2 instructions; off the twin by 3e-07"
    assert found["tools", "uv"].startswith("uv 9.9")
    assert sum(area == "programs" for area, _ in found) == sum(map(len, PROGRAMS.values()))
    calls = (workspace.root / "calls.txt").read_text().splitlines()
    assert len(calls) == len(PROGRAMS)
    assert all("--dry-run" in call for call in calls)  # nothing is changed


PLAN = """\
Would create project environment at: .venvs/soc
Would download 3 packages
Would install 4 packages
 + soc @ file:///somewhere/packages/soc
 + torch==2.9.0
 + einops==0.8.2
 + msda-ops==0.1.0 (from file:///somewhere/packages/msda_ops)
"""


def test_an_environment_that_is_not_made_yet(workspace, monkeypatch):
    shutil.rmtree(workspace.root / ".venvs" / "soc")
    workspace.uv(PLAN)
    (soc,) = [one for one in workspace.findings("environments") if one.subject == "soc"]
    assert soc.state is State.NOTE
    assert soc.text == "not made yet: 4 to install or remove, 1 to download"
    assert f"UV_PROJECT_ENVIRONMENT={workspace.root}/.venvs/soc uv sync" in soc.remedy
    other = next(one for one in workspace.findings("environments") if one.subject == "mutr")
    assert "torch 2.9.0" in other.text
    assert "out of date against uv.lock: 4 to install or remove" in other.text
    assert any(one.subject == "environments" for one in workspace.findings("disk"))
    assert not any(one.subject == "soc-infer" for one in workspace.findings("programs"))  # nothing there to start
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert all("once online" in one.remedy for one in problems(workspace.findings("environments")))
    assert len(problems(workspace.findings("environments"))) == len(PROGRAMS)


def test_without_uv_only_what_is_missing_is_a_problem(workspace):
    (workspace.tools / "uv").unlink()
    assert problems(workspace.findings()) == []
    assert next(one for one in workspace.findings("tools")).state is State.NOTE
    shutil.rmtree(workspace.root / ".venvs" / "soc")
    (problem,) = problems(workspace.findings())
    assert (problem.area, problem.subject) == ("environments", "soc")
    assert "docs.astral.sh/uv" in problem.remedy


def test_a_lock_file_that_uv_refuses(workspace):
    workspace.uv("error: Failed to parse `uv.lock`", code=2)
    found = problems(workspace.findings())
    assert {one.area for one in found} == {"environments"}
    assert "Failed to parse" in found[0].text


def test_a_program_that_does_not_start(workspace):
    library = "ImportError: libGL.so.1: cannot open shared object file"
    script(workspace.root / ".venvs/uninext/bin/uninext-infer", f"Traceback\n{library}\n", code=1)
    (problem,) = problems(workspace.findings())
    assert (problem.area, problem.subject) == ("programs", "uninext-infer")
    assert library in problem.text
    assert f"delete {workspace.root}/.venvs/uninext" in problem.remedy


def test_kernels_that_are_missing_or_wrong(workspace):
    twin = HEALTHY.replace("C++ kernels with avx2 instructions; off the twin by 3e-07", "torch twin, no library")
    script(workspace.root / ".venvs/soc/bin/python", twin)
    (note,) = [one for one in workspace.findings("kernels") if one.state is State.NOTE]
    assert note.subject == "soc on cpu"
    assert "slower" in note.remedy
    script(workspace.root / ".venvs/soc/bin/python", HEALTHY.replace("ok", "FAILED; please report"), code=1)
    (problem,) = problems(workspace.findings())
    assert "FAILED" in problem.text
    assert "-m msda_ops" in problem.remedy


def test_gpus_are_listed_and_missed_where_torch_does_not_see_them(workspace):
    script(workspace.tools / "nvidia-smi", "NVIDIA H200, 143771 MiB, 580.65\nNVIDIA H200, 143771 MiB, 580.65\n")
    for package in PROGRAMS:
        seen = HEALTHY.replace(
            "Self-check", "  cuda:0 float32: CUDA kernels for sm_90; off the twin by 3e-07\nSelf-check"
        )
        script(workspace.root / ".venvs" / package / "bin" / "python", seen)
    findings = workspace.findings()
    assert problems(findings) == []
    listed = [one for one in findings if one.area == "devices"]
    assert [one.subject for one in listed] == ["cuda:0", "cuda:1"]
    assert "H200" in listed[0].text
    assert any(one.subject == "soc on cuda:0" for one in findings)
    script(workspace.root / ".venvs/soc/bin/python", HEALTHY)
    (problem,) = problems(workspace.findings())
    assert (problem.area, problem.subject) == ("devices", "soc")
    script(workspace.tools / "nvidia-smi", "NVIDIA-SMI has failed\n", code=9)
    (problem,) = problems(workspace.findings())
    assert "NVIDIA-SMI has failed" in problem.text


def test_an_old_driver_is_a_problem(workspace):
    script(workspace.tools / "nvidia-smi", "NVIDIA H200, 143771 MiB, 570.133.20\n")
    problem = problems(workspace.findings())[0]
    assert (problem.area, problem.subject) == ("devices", "cuda:0")
    assert "older than 580, so programs compute on the CPU" in problem.text
    assert "update the NVIDIA driver to 580" in problem.remedy


def test_vocabularies_are_looked_for_where_the_hub_keeps_them(workspace, monkeypatch):
    assert {one.state for one in workspace.findings("downloads")} == {State.NOTE}
    snapshots = workspace.root / "hub_home" / "hub" / "models--FacebookAI--roberta-base" / "snapshots"
    snapshots.mkdir(parents=True)
    states = {one.subject: one.state for one in workspace.findings("downloads")}
    assert states == {"roberta-base": State.FINE, "bert-base-uncased": State.NOTE}
    monkeypatch.setenv("HF_HUB_CACHE", str(workspace.root / "elsewhere"))
    assert {one.state for one in workspace.findings("downloads")} == {State.NOTE}


def test_weights_that_recipes_take_are_counted(workspace, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(workspace.root / "user"))
    found = {one.subject: one for one in workspace.findings("weights")}
    assert found["iccv2023"].text.startswith(f"0 of 9 in {workspace.root / 'user'}, ")
    assert "weights list --recipe iccv2023` says where to get soc, roberta-base, mutr" in found["iccv2023"].remedy
    folder = folder_of("soc")
    folder.mkdir(parents=True)
    (folder / "soc.tar").touch()
    WeightsRecord(source="here", files={"soc.tar": StoredFile(size=0, sha256="0" * 64)}, loads="soc.tar").write(folder)
    found = {one.subject: one for one in workspace.findings("weights")}
    assert found["iccv2023"].text.startswith("1 of 9")


def test_a_full_disk(workspace, monkeypatch):
    usage = SimpleNamespace(free=doctor.LITTLE_DISK - 1)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    (problem,) = problems(workspace.findings())
    assert (problem.area, problem.subject) == ("disk", "runs")


def test_outside_a_checkout_programs_come_from_the_path(workspace, monkeypatch):
    monkeypatch.setattr(environments, "_workspace", lambda: None)
    environments._packages_by_script.cache_clear()
    script(workspace.tools / "soc-infer", "Usage: ...")
    findings = workspace.findings()
    assert not [one for one in findings if one.area == "environments"]
    missing = {one.subject for one in problems(findings)}
    assert missing == {name for names in PROGRAMS.values() for name in names} - {"soc-infer"}
    assert all("checkout" in one.remedy for one in problems(findings))


def test_table_json_and_exit_codes(workspace):
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "no problems" in result.stdout
    result = CliRunner().invoke(app, ["doctor", "--json"])
    tree = json.loads(result.stdout)
    assert tree["healthy"] is True
    assert {"area", "subject", "state", "text", "remedy"} == set(tree["findings"][0])
    script(workspace.root / ".venvs/soc/bin/soc-infer", "Segmentation fault", code=139)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "problem: programs, soc-infer: see what" in result.stdout
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["healthy"] is False


def test_a_problem_without_a_remedy_cannot_be_said():
    with pytest.raises(ValueError, match="what to do"):
        doctor.Diagnosis(area="x", subject="y", state=State.PROBLEM, text="broken")
