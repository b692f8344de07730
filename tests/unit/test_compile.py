import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from scripts.compile import (
    ROOT,
    CompileFailed,
    Project,
    build_artifacts,
    differences,
    write_artifacts,
)
from scripts.solc import SOLC_VERSION, ensure_solc

HEAD = f"// SPDX-License-Identifier: Apache-2.0\npragma solidity {SOLC_VERSION};\n"
COUNTER = HEAD + 'import {Sums} from "./Sums.sol";\n'
COUNTER += "contract Counter { uint256 public n; function add() external { n = Sums.inc(n); } }\n"
SUMS = HEAD + "interface Empty {}\nabstract contract Base {}\n"
SUMS += "library Sums { function inc(uint256 a) internal pure returns (uint256) { return a + 1; } }"


def make_project(root: Path, **more: str) -> Project:
    sources = {"Counter.sol": COUNTER, "Sums.sol": SUMS, **more}
    for name, text in sources.items():
        path = root / "contracts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(ROOT / "ape-config.yaml", root)
    return Project.at(root)


def test_artifacts__are_the_same_in_any_folder(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "other"):
        project = make_project(tmp_path / name)
        artifacts = build_artifacts(project)
        texts.append({path.relative_to(project.root): text for path, text in artifacts.items()})
    assert texts[0] == texts[1]
    assert list(texts[0]) == [Path("market/artifacts/Counter.json")]


def test_artifact__carries_what_deploying_needs(tmp_path: Path) -> None:
    [text] = build_artifacts(make_project(tmp_path)).values()
    artifact = json.loads(text)
    assert artifact["compiler"].startswith(f"{SOLC_VERSION}+")
    assert {entry["name"] for entry in artifact["abi"]} == {"n", "add"}
    # The code that is deployed is part of the code that deploys it.
    assert artifact["deployedBytecode"][2:] in artifact["bytecode"]


def test_mock__goes_to_the_tests(tmp_path: Path) -> None:
    mock = HEAD + 'import {Counter} from "../Counter.sol";\ncontract Fast is Counter {}\n'
    project = make_project(tmp_path, **{"mocks/Fast.sol": mock})
    paths = sorted(path.relative_to(tmp_path).as_posix() for path in build_artifacts(project))
    assert paths == ["market/artifacts/Counter.json", "tests/artifacts/Fast.json"]


def test_differences__name_each_stale_artifact(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    artifacts = build_artifacts(project)
    assert differences(project, artifacts) == ["market/artifacts/Counter.json: missing"]
    write_artifacts(project, artifacts)
    assert differences(project, artifacts) == []

    (project.contracts / "Counter.sol").write_text(COUNTER.replace("n = ", "n = 1 + "))
    (project.shipped / "Gone.json").write_text("{}")
    changed = build_artifacts(project)
    assert differences(project, changed) == [
        "market/artifacts/Gone.json: no source",
        "market/artifacts/Counter.json: differs from its source",
    ]
    write_artifacts(project, changed)
    assert differences(project, changed) == []


def test_error__names_file_and_line(tmp_path: Path) -> None:
    project = make_project(tmp_path, **{"Bad.sol": HEAD + "contract Bad { uint x = y; }\n"})
    with pytest.raises(CompileFailed, match=r"contracts/Bad\.sol:3:25"):
        build_artifacts(project)


def test_contract_above_the_chain_limit__is_refused(tmp_path: Path) -> None:
    # Bytes without a pattern, which the optimizer cannot shorten.
    data = b"".join(sha256(bytes([i, j])).digest() for i in range(4) for j in range(200)).hex()
    function = f"function f() external pure returns (bytes memory) {{ return hex'{data}'; }}"
    big = HEAD + f"contract Big {{ {function} }}\n"
    project = make_project(tmp_path, **{"Big.sol": big})
    with pytest.raises(CompileFailed, match=r"Big has \d+ bytes of code"):
        build_artifacts(project)


def test_two_contracts_of_one_name__are_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path, **{"Other.sol": HEAD + "contract Counter {}\n"})
    with pytest.raises(CompileFailed, match="two contracts are called Counter"):
        build_artifacts(project)


def test_other_compiler_in_the_configuration__is_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    config = tmp_path / "ape-config.yaml"
    config.write_text(config.read_text().replace(SOLC_VERSION, "0.8.36"))
    with pytest.raises(CompileFailed, match=r"0\.8\.36.*package\.json"):
        build_artifacts(project)


def test_no_contracts__says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(CompileFailed, match=str(tmp_path / "contracts")):
        build_artifacts(Project.at(tmp_path))


def test_compiler__answers_as_the_native_one() -> None:
    compiler = ensure_solc()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    assert f"Version: {SOLC_VERSION}+commit." in version.stdout
    request = {"language": "Solidity", "sources": {"a.sol": {"content": HEAD + "contract A {}"}}}
    answer = subprocess.run(
        [compiler, "--standard-json"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "errors" not in json.loads(answer.stdout)


def test_npm_pins__are_the_compiler_that_the_scripts_use() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    assert package["devDependencies"]["solc"] == SOLC_VERSION
