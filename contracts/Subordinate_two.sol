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
            demandWh += nodes[i].takeableWh();
            supplyWh += _offeredWh(nodes[i]);
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
        s.afterSelling = new Deviation[](nodes.length);
        s.left = new Deviation[](nodes.length);
        (s.selling, s.local) = (selling, local);
        (s.sold, s.balanced) = (ShareLog.open(nodes.length), ShareLog.open(nodes.length));
        for (uint256 i; i < nodes.length; ++i) {
            // A node has demand or surplus, never both, so of each pair of shares one is zero.
            Deviation d = nodes[i];
            uint256 bought = s.selling.serveDemand(d.takeableWh());
            uint256 sold = s.selling.serveSupply(_offeredWh(d));
            s.sold.add(d.node(), sold != 0, bought + sold);
            d = d.lessExtra(bought).lessSurplus(sold);
            s.afterSelling[i] = d;

            bought = s.local.serveDemand(d.demandWh());
            sold = s.local.serveSupply(d.surplusWh());
            s.balanced.add(d.node(), sold != 0, bought + sold);
            s.left[i] = d.lessDemand(bought).lessSurplus(sold);
        }
    }

    function _offeredWh(Deviation d) private pure returns (uint256) {
        return d.has(OFFER) ? d.surplusWh() : 0;
    }
}
