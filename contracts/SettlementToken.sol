// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ISettlementToken} from "./interfaces/ISettlementToken.sol";
import {IRegistry, TREASURY_ROLE} from "./interfaces/IRegistry.sol";

/// @title The market's money
/// @notice Documented in `ISettlementToken`.
contract SettlementToken is ISettlementToken, ERC20Permit {
    /// The vault keeps balances in 64 bits; no account can hold more than everything there is.
    uint256 private constant SUPPLY_CAP_UYUAN = type(uint64).max;

    IRegistry private immutable REGISTRY;

    constructor(IRegistry registry) ERC20("Subgrid settlement yuan", "SGY") ERC20Permit("Subgrid settlement yuan") {
        REGISTRY = registry;
    }

    /// @inheritdoc ISettlementToken
    function recharge(address to, uint256 amountUyuan, string calldata reference_) external {
        if (!REGISTRY.hasRole(TREASURY_ROLE, msg.sender)) revert NotTreasury(msg.sender);
        // Compared by subtraction, so that an absurd amount cannot overflow before it is refused.
        if (amountUyuan > SUPPLY_CAP_UYUAN - totalSupply()) revert SupplyAboveCap(amountUyuan, SUPPLY_CAP_UYUAN);
        _mint(to, amountUyuan);
        emit Recharged(to, amountUyuan, reference_);
    }

    /// @inheritdoc ISettlementToken
    function redeem(uint256 amountUyuan, string calldata reference_) external {
        _burn(msg.sender, amountUyuan);
        emit Redeemed(msg.sender, amountUyuan, reference_);
    }

    /// @notice Decimals of the token: the smallest unit is a micro-yuan.
    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
