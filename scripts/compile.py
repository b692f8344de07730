"""Compiles the contracts and writes the artifacts that the package ships.

Every deployable contract becomes one JSON file under ``market/artifacts/``; contracts below
``contracts/mocks/`` serve tests only and go to ``tests/artifacts/``. The same sources and settings
give the same bytes on every machine, so ``--check`` can tell a stale artifact from a fresh one.
The settings are those of ``ape-config.yaml``, so ape builds the same code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import solcx
import solcx.exceptions
import yaml

ROOT = Path(__file__).resolve().parent.parent
if __package__ in (None, ""):  # started as a file: let the sibling modules be found
    sys.path.insert(0, str(ROOT))

from scripts.solc import SOLC_VERSION, SolcMissing, ensure_solc  # noqa: E402

CODE_SIZE_LIMIT_BYTES = 24_576
"""Largest contract a chain accepts (EIP-170)."""

Json = dict[str, Any]


class CompileFailed(Exception):
    """The compiler, or a check on its output, refused the contracts."""


@dataclass(frozen=True)
class Project:
    """Where the sources are, and where their artifacts go.

    Attributes:
        root: Base of all paths, holds ``node_modules`` and ``ape-config.yaml``.
        contracts: Folder of the sources, below ``root``.
        shipped: Folder of the artifacts that the package carries.
        test_only: Folder of the artifacts of the mocks.
        cache: File that keeps the last compiler output.
    """

    root: Path
    contracts: Path
    shipped: Path
    test_only: Path
    cache: Path

    @classmethod
    def at(cls, root: Path) -> Project:
        """Lay the project out below a root folder in the usual way."""
        return cls(
            root=root,
            contracts=root / "contracts",
            shipped=root / "market" / "artifacts",
            test_only=root / "tests" / "artifacts",
            cache=root / ".cache" / "compile.json",
        )

    def sources(self) -> dict[str, str]:
        """Return all Solidity files below ``contracts``, by path from the root."""
        return {
            path.relative_to(self.root).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(self.contracts.rglob("*.sol"))
        }


def compiler_settings(config_file: Path) -> Json:
    """Translate the ``solidity`` section of an ape configuration to standard-JSON settings.

    Raises:
        CompileFailed: If the file pins another compiler than ``scripts/solc.py`` provides.
    """
    config: Json = yaml.safe_load(config_file.read_text(encoding="utf-8"))["solidity"]
    if config["version"] != SOLC_VERSION:
        raise CompileFailed(
            f"{config_file.name} asks for solc {config['version']}, scripts/solc.py provides "
            f"{SOLC_VERSION}: change them together, and the pin in package.json"
        )
    return {
        "evmVersion": config["evm_version"],
        "viaIR": config["via_ir"],
        "optimizer": {"enabled": config["optimize"], "runs": config["optimization_runs"]},
        "remappings": sorted(config["import_remapping"]),
        # A hash of the sources' text in the code would change it with every comment.
        "metadata": {"bytecodeHash": "none"},
        "outputSelection": {
            "*": {
                "": ["ast"],
                "*": ["abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode"],
            }
        },
    }


def compile_contracts(project: Project) -> Json:
    """Compile all sources, or return the kept output if nothing has changed since.

    Returns:
        The compiler's standard-JSON output, without the syntax trees of the imported libraries.

    Raises:
        CompileFailed: If the compiler reports errors; the message is the compiler's own.
        SolcMissing: If there is no compiler.
    """
    sources = project.sources()
    if not sources:
        raise CompileFailed(f"no Solidity file below {project.contracts}")
    request: Json = {
        "language": "Solidity",
        "sources": {name: {"content": content} for name, content in sources.items()},
        "settings": compiler_settings(project.root / "ape-config.yaml"),
    }
    key = _digest(json.dumps(request) + SOLC_VERSION + _library_version(project.root))
    if project.cache.exists():
        kept: Json = json.loads(project.cache.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return dict(kept["output"])

    output = _run_compiler(request, project.root)
    for problem in output.pop("errors", []):
        print(problem["formattedMessage"].strip(), file=sys.stderr)
    output["sources"] = {
        name: {"kinds": _contract_kinds(source["ast"])}
        for name, source in output["sources"].items()
        if name in sources
    }
    output["contracts"] = {name: output["contracts"].get(name, {}) for name in sources}
    _write(project.cache, json.dumps({"key": key, "output": output}))
    return output


def build_artifacts(project: Project) -> dict[Path, str]:
    """Return the text of every artifact by the path where it belongs.

    Raises:
        CompileFailed: If the sources do not compile, a contract exceeds the size limit of the
            chain, or two contracts share a name.
        SolcMissing: If there is no compiler.
    """
    output = compile_contracts(project)
    mocks = (project.contracts / "mocks").relative_to(project.root).as_posix() + "/"
    artifacts: dict[Path, str] = {}
    for source, contracts in output["contracts"].items():
        is_mock = source.startswith(mocks)
        for name, contract in contracts.items():
            if output["sources"][source]["kinds"].get(name) != "contract":
                continue
            artifact = _artifact(name, source, contract)
            _check_size(artifact, is_mock=is_mock)
            path = (project.test_only if is_mock else project.shipped) / f"{name}.json"
            if path in artifacts:
                raise CompileFailed(f"two contracts are called {name}; rename the one in {source}")
            artifacts[path] = json.dumps(artifact, indent=1) + "\n"
    return artifacts


def differences(project: Project, artifacts: dict[Path, str]) -> list[str]:
    """List what on disk differs from the given artifacts, one readable line each."""
    present = {*project.shipped.glob("*.json"), *project.test_only.glob("*.json")}
    found = [f"{_name(project, path)}: missing" for path in sorted(artifacts.keys() - present)]
    found += [f"{_name(project, path)}: no source" for path in sorted(present - artifacts.keys())]
    found += [
        f"{_name(project, path)}: differs from its source"
        for path in sorted(artifacts.keys() & present)
        if path.read_text(encoding="utf-8") != artifacts[path]
    ]
    return found


def write_artifacts(project: Project, artifacts: dict[Path, str]) -> None:
    """Make the artifact folders hold exactly the given artifacts."""
    for path in {*project.shipped.glob("*.json"), *project.test_only.glob("*.json")}:
        if path not in artifacts:
            path.unlink()
    for path, text in artifacts.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            _write(path, text)


def _run_compiler(request: Json, root: Path) -> Json:
    compiler = ensure_solc()
    try:
        answer: Json = solcx.compile_standard(
            request, base_path=root, allow_paths=root, solc_binary=compiler, allow_empty=True
        )
    except solcx.exceptions.SolcError as error:
        raise CompileFailed(error.message) from error
    return answer


def _artifact(name: str, source: str, contract: Json) -> Json:
    deployed = contract["evm"]["deployedBytecode"]
    return {
        "contractName": name,
        "sourceName": source,
        "compiler": json.loads(contract["metadata"])["compiler"]["version"],
        # The metadata names each source the contract is made of with its hash, and the settings.
        "sourceHash": _digest(contract["metadata"]),
        "abi": contract["abi"],
        "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
        "deployedBytecode": "0x" + deployed["object"],
        # By place, not by the compiler's numbering, which changes with every other source.
        "immutables": sorted(
            [place["start"], place["length"]]
            for places in deployed.get("immutableReferences", {}).values()
            for place in places
        ),
    }


def _check_size(artifact: Json, *, is_mock: bool) -> None:
    size_bytes = _code_size_bytes(artifact)
    if size_bytes > CODE_SIZE_LIMIT_BYTES and not is_mock:
        raise CompileFailed(
            f"{artifact['sourceName']}: {artifact['contractName']} has {size_bytes} bytes of code, "
            f"a chain accepts {CODE_SIZE_LIMIT_BYTES}; split it"
        )


def _code_size_bytes(artifact: Json) -> int:
    return len(artifact["deployedBytecode"]) // 2 - 1


def _contract_kinds(ast: Json) -> dict[str, str]:
    """Return ``contract``, ``abstract``, ``library`` or ``interface`` for each name in a file."""
    return {
        node["name"]: "abstract" if node["abstract"] else node["contractKind"]
        for node in ast["nodes"]
        if node["nodeType"] == "ContractDefinition"
    }


def _library_version(root: Path) -> str:
    package = root / "node_modules" / "@openzeppelin" / "contracts" / "package.json"
    return str(json.loads(package.read_text())["version"]) if package.exists() else "none"


def _digest(text: str) -> str:
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


def _name(project: Project, path: Path) -> str:
    return path.relative_to(project.root).as_posix()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Compile contracts/ into market/artifacts/ and tests/artifacts/.",
        epilog="Exit status 1: the sources do not compile, or with --check, artifacts are stale.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if an artifact is stale"
    )
    parser.add_argument(
        "--sizes", action="store_true", help="print the code size of each contract in bytes"
    )
    options = parser.parse_args(arguments)
    project = Project.at(ROOT)
    try:
        artifacts = build_artifacts(project)
    except (CompileFailed, SolcMissing) as error:
        print(error, file=sys.stderr)
        return 1
    if options.sizes:
        for path, text in sorted(artifacts.items()):
            print(f"{_code_size_bytes(json.loads(text)):>6} {path.stem}")
    if not options.check:
        write_artifacts(project, artifacts)
        print(f"{len(artifacts)} artifacts are up to date")
        return 0
    stale = differences(project, artifacts)
    for line in stale:
        print(line, file=sys.stderr)
    if stale:
        print("Run `make compile` and commit the result.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
