"""Every error a contract declares is raised by a test that asserts its name and values."""

from __future__ import annotations

import ast
from pathlib import Path

from market.contracts import ARTIFACTS
from tests.unit.contracts.support import errors_of

HERE = Path(__file__).parent
ASSERTING = {"refused", "named"}

UNREACHABLE = {
    "SafeCastOverflowedUintDowncast",
    "ECDSAInvalidSignatureLength",
    "ERC20InvalidApprover",
    "ERC20InvalidSender",
    "InvalidAccountNonce",
    "InvalidShortString",
    "StringTooLong",
    "SafeERC20FailedOperation",
    "FailedDeployment",
    "InsufficientBalance",
}
"""OpenZeppelin's, in the interfaces but out of reach: no caller is the zero address, names are
short constants, times fit 48 bits, `permit` takes its signature in parts and uses the owner's own
nonce, the market's token fails with errors of its own, and a table is deployed without money."""


def asserted() -> set[str]:
    """Return every `Contract.Error` that is the first argument of an asserting call."""
    found: set[str] = set()
    for file in HERE.glob("test_*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id not in ASSERTING or not node.args:
                continue
            first = node.args[0]
            if isinstance(first, ast.Constant):
                found.add(str(first.value))
            elif isinstance(first, ast.Name) and first.id in constants:
                found.add(str(constants[first.id]))
    return found


def test_errors__of_every_contract__are_asserted_by_name_and_values() -> None:
    # `Planned` has the errors of `Uniform`, from the same code.
    contracts = [contract for contract in ARTIFACTS if contract != "Planned"]
    shipped = {f"{contract}.{name}" for contract in contracts for name in errors_of(contract)}
    declared = {e for e in shipped if e.partition(".")[2] not in UNREACHABLE}
    declared.add("Asker.NotOracle")  # of the base of every consumer
    assert declared - asserted() == set()


def test_errors__out_of_reach__are_still_in_an_interface() -> None:
    known = {name for contract in ARTIFACTS for name in errors_of(contract)}
    assert known >= UNREACHABLE
