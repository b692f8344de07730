import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.setup import packages
from scripts.setup.base import PROBE_TIMEOUT_S, Project, SetupFailed, Stamp, reachable
from scripts.setup.npm import install_npm_packages
from scripts.setup.packages import install_packages, packages_stamp

ROOT = Path(__file__).resolve().parent.parent.parent

BACKEND = """
import os, signal, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    if "BLOCK_AT" in os.environ:
        with open(os.environ["BLOCK_AT"], "w") as started:
            started.write("building")
        signal.pause()
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("tiny.pth", os.getcwd())
        info = "tiny-1.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that pip installs for real, without a network: it depends on nothing."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "tiny.py").touch()
    (tmp_path / "constraints.txt").touch()
    (tmp_path / "package.json").write_text('{"name": "tiny"}')
    (tmp_path / "package-lock.json").write_text('{"name": "tiny", "lockfileVersion": 3}')
    return Project(tmp_path)


@pytest.fixture
def closed_address() -> Iterator[str]:
    """An address of this machine that refuses connections: bound, so nobody else listens there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


def imports_tiny(project: Project) -> bool:
    return subprocess.run([project.python, "-c", "import tiny"], check=False).returncode == 0


def test_packages__are_installed_once_for_each_state_of_the_pins(
    project: Project,
    closed_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install_packages(project, what="tiny")
    assert "virtual environment" in capsys.readouterr().out
    assert imports_tiny(project)

    install_packages(project, what="tiny")
    assert capsys.readouterr().out == ""

    (project.root / "constraints.txt").write_text("other==1\n")
    with monkeypatch.context() as without_network:
        without_network.delenv("PIP_NO_INDEX")
        without_network.setenv("PIP_INDEX_URL", closed_address)
        with pytest.raises(SetupFailed, match="PIP_INDEX_URL"):
            install_packages(project, what="tiny")
    assert not packages_stamp(project).is_set()

    capsys.readouterr()
    install_packages(project, what="tiny")
    assert capsys.readouterr().out == "  - tiny into .venv\n"
    assert packages_stamp(project).is_set()


def test_run_killed_half_way__is_made_good_by_the_next(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = project.root / "gate"
    os.mkfifo(gate)
    program = (
        "import sys; from pathlib import Path\n"
        "from scripts.setup.base import Project\n"
        "from scripts.setup.packages import install_packages\n"
        "install_packages(Project(Path(sys.argv[1])), what='tiny')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(project.root)],
        cwd=ROOT,
        env={**os.environ, "BLOCK_AT": str(gate)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert gate.read_text() == "building"
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not packages_stamp(project).is_set()
    debris = project.venv / "debris"
    debris.touch()

    install_packages(project, what="tiny")
    assert "virtual environment" in capsys.readouterr().out
    assert not debris.exists()
    assert imports_tiny(project)
    assert packages_stamp(project).is_set()


def test_python_without_ensurepip_and_pip__names_the_package(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(packages, "PIP_WHEELS", project.root)
    with pytest.raises(SetupFailed, match=r"apt install python3\.1[12]-venv"):
        install_packages(project, what="tiny")
    assert not project.venv.exists()


@pytest.mark.skipif(shutil.which("npm") is None, reason="asks the npm on the PATH")
def test_unreachable_registry__names_the_way_around(
    project: Project, closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", closed_address)
    with pytest.raises(SetupFailed, match="native `anvil` on the PATH"):
        install_npm_packages(project, build_tools=False, what="anvil")


def test_stamp__holds_for_its_key_only(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "stamp", "one")
    assert not stamp.is_set()
    stamp.set()
    assert stamp.is_set()
    assert not Stamp(tmp_path / "stamp", "other").is_set()


def test_probe__sees_a_server(closed_address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert reachable(f"http://127.0.0.1:{server.getsockname()[1]}/simple")
    assert not reachable(closed_address)


@pytest.mark.skipif(sys.platform != "linux", reason="relies on Linux dropping what it cannot queue")
def test_probe__gives_up_on_a_silent_server() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        # Nobody accepts, so once the queue is full the kernel answers no further connection.
        with socket.create_connection(address):
            begin = time.monotonic()
            assert not reachable(f"http://127.0.0.1:{address[1]}/", timeout_s=0.5)
            assert time.monotonic() - begin < PROBE_TIMEOUT_S
