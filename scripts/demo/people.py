"""Everybody's account, derived from the devnet's public seed."""

from __future__ import annotations

from dataclasses import dataclass

from eth_account import Account
from eth_account.signers.local import LocalAccount

from market.devnet import MNEMONIC

SEATS = 4
FUNDED = 3 + SEATS
"""Accounts that pay for gas: deployer, grid company, relayer and the seats. Members need none."""

_FIRST_MEMBER = 100

Account.enable_unaudited_hdwallet_features()


def account(index: int) -> LocalAccount:
    """Return an account of the devnet's seed, whose keys are public."""
    path = f"m/44'/60'/0'/0/{index}"
    derived: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=path)
    return derived


@dataclass(frozen=True)
class People:
    """Who acts in the demo.

    Attributes:
        deployer: Deploys, holds nothing.
        grid: The grid company.
        relayer: Places what members have signed and pays for it.
        seats: The oracle's committee.
        members: Accounts of nodes 1, 2, ...
    """

    deployer: LocalAccount
    grid: LocalAccount
    relayer: LocalAccount
    seats: list[LocalAccount]
    members: list[LocalAccount]

    @classmethod
    def of(cls, nodes: int) -> People:
        """Derive everybody for a number of nodes."""
        deployer, grid, relayer, *seats = (account(i) for i in range(FUNDED))
        members = [account(_FIRST_MEMBER + i) for i in range(nodes)]
        return cls(deployer, grid, relayer, seats, members)

    def owner(self, node: int) -> LocalAccount:
        """Return the account of a node."""
        return self.members[node - 1]
