// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ISubordinate_two} from "./interfaces/ISubordinates.sol";
import {Legs} from "./libraries/Legs.sol";
import {ShareLog} from "./libraries/ShareLog.sol";
import {Deviation} from "./types/Deviation.sol";
import {OFFER} from "./types/Options.sol";
import {Leg} from "./types/Types.sol";

/// @title Slave contract 2: who takes a surplus, at the selling price (Peng, Table I)
/// @notice Documented in `ISubordinate_two`.
contract Subordinate_two is ISubordinate_two {
    using Legs for Leg;
    using ShareLog for bytes;

    /// Both legs of a call with their logs, together in memory.
    struct Served {
        Deviation[] afterSelling;
        Deviation[] left;
        Leg selling;
        Leg local;
        bytes sold;
        bytes balanced;
    }

    address private immutable MASTER;

    constructor(address master) {
        MASTER = master;
    }

    /// @inheritdoc ISubordinate_two
    function count(Deviation[] calldata nodes) external pure returns (uint256 demandWh, uint256 supplyWh) {
        for (uint256 i; i < nodes.length; ++i) {
            unchecked {
                demandWh += nodes[i].takeableWh(); // sums of 40-bit energies
                supplyWh += _offeredWh(nodes[i]);
            }
        }
    }

    /// @inheritdoc ISubordinate_two
    function serve(Deviation[] calldata nodes, Leg calldata selling, Leg calldata local)
        external
        pure
        returns (Deviation[] memory afterSelling, Deviation[] memory left, Leg memory nextSelling, Leg memory nextLocal)
    {
        Served memory s = _serve(nodes, selling, local);
        return (s.afterSelling, s.left, s.selling, s.local);
    }

    /// @inheritdoc ISubordinate_two
    function sell(
        uint32 period,
        uint16 version,
        Deviation[] calldata nodes,
        Leg calldata selling,
        Leg calldata local
    )
        external
        returns (Deviation[] memory afterSelling, Deviation[] memory left, Leg memory nextSelling, Leg memory nextLocal)
    {
        if (msg.sender != MASTER) revert NotMaster(msg.sender);
        Served memory s = _serve(nodes, selling, local);
        if (s.sold.length != 0) emit Sold(period, version, s.sold);
        if (s.balanced.length != 0) emit Balanced(period, version, s.balanced);
        return (s.afterSelling, s.left, s.selling, s.local);
    }

    function _serve(Deviation[] calldata nodes, Leg memory selling, Leg memory local)
        private
        pure
        returns (Served memory s)
    {
        (s.afterSelling, s.sold) = _sell(nodes, selling);
        (s.left, s.balanced) = _balance(s.afterSelling, local);
        (s.selling, s.local) = (selling, local);
    }

    /// @dev Serves nodes at the selling price, moving the leg on. A node has demand or surplus, never both.
    function _sell(Deviation[] calldata nodes, Leg memory leg)
        private
        pure
        returns (Deviation[] memory left, bytes memory shares)
    {
        left = nodes;
        if (leg.tradedWh() == 0) return (left, shares);
        shares = ShareLog.open(nodes.length);
        for (uint256 i; i < left.length; ++i) {
            Deviation d = left[i];
            uint256 bought = leg.serveDemand(d.takeableWh());
            uint256 sold = leg.serveSupply(_offeredWh(d));
            if (bought | sold == 0) continue;
            shares.add(d.node(), sold != 0, bought | sold);
            left[i] = d.lessExtra(bought).lessSurplus(sold);
        }
    }

    /// @dev Serves nodes in the local balance, moving the leg on. A node has demand or surplus, never both.
    function _balance(Deviation[] memory nodes, Leg memory leg)
        private
        pure
        returns (Deviation[] memory left, bytes memory shares)
    {
        if (leg.tradedWh() == 0) return (nodes, shares);
        left = new Deviation[](nodes.length);
        shares = ShareLog.open(nodes.length);
        for (uint256 i; i < nodes.length; ++i) {
            Deviation d = nodes[i];
            uint256 bought = leg.serveDemand(d.demandWh());
            uint256 sold = leg.serveSupply(d.surplusWh());
            shares.add(d.node(), sold != 0, bought | sold);
            left[i] = d.lessDemand(bought).lessSurplus(sold);
        }
    }

    function _offeredWh(Deviation d) private pure returns (uint256) {
        return d.has(OFFER) ? d.surplusWh() : 0;
    }
}
