// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ISubordinate_two} from "./interfaces/ISubordinates.sol";
import {Legs} from "./libraries/Legs.sol";
import {Packed} from "./libraries/Packed.sol";
import {ShareLog} from "./libraries/ShareLog.sol";
import {Deviation, deviationAt} from "./types/Deviation.sol";
import {OFFER} from "./types/Options.sol";
import {Leg} from "./types/Types.sol";

/// @title Slave contract 2: who takes a surplus, at the selling price (Peng, Table I)
/// @notice Documented in `ISubordinate_two`.
contract Subordinate_two is ISubordinate_two {
    using Legs for Leg;
    using ShareLog for bytes;

    address private immutable MASTER;

    constructor(address master) {
        MASTER = master;
    }

    /// @inheritdoc ISubordinate_two
    function count(bytes calldata nodes)
        external
        pure
        returns (uint256 takeableWh, uint256 offeredWh, uint256 demandWh, uint256 surplusWh)
    {
        unchecked {
            // Sums of 40-bit energies.
            for (uint256 i; i < nodes.length; i += Packed.WORD) {
                Deviation d = deviationAt(nodes, i);
                uint256 restWh = d.demandWh();
                if (restWh != 0) {
                    demandWh += restWh;
                    takeableWh += d.takeableWh();
                    continue;
                }
                restWh = d.surplusWh();
                surplusWh += restWh;
                if (d.has(OFFER)) offeredWh += restWh;
            }
        }
    }

    /// @inheritdoc ISubordinate_two
    function serve(bytes calldata nodes, Leg calldata selling, Leg calldata local)
        external
        pure
        returns (bytes memory sold, bytes memory balanced, Leg memory nextSelling, Leg memory nextLocal)
    {
        return _serve(nodes, selling, local);
    }

    /// @inheritdoc ISubordinate_two
    function sell(uint32 period, uint16 version, bytes calldata nodes, Leg calldata selling, Leg calldata local)
        external
        returns (bytes memory sold, bytes memory balanced, Leg memory nextSelling, Leg memory nextLocal)
    {
        if (msg.sender != MASTER) revert NotMaster(msg.sender);
        (sold, balanced, nextSelling, nextLocal) = _serve(nodes, selling, local);
        if (sold.length != 0) emit Sold(period, version, sold);
        if (balanced.length != 0) emit Balanced(period, version, balanced);
    }

    /// @dev Serves nodes at the selling price and with what is left in the local balance, moving both legs on. A node has
    /// demand or surplus, never both.
    function _serve(bytes calldata nodes, Leg memory selling, Leg memory local)
        private
        pure
        returns (bytes memory sold, bytes memory balanced, Leg memory, Leg memory)
    {
        (uint256 sells, uint256 balances) = (selling.tradedWh(), local.tradedWh());
        if (sells != 0) sold = ShareLog.open(nodes.length / Packed.WORD);
        if (balances != 0) balanced = ShareLog.open(nodes.length / Packed.WORD);
        unchecked {
            for (uint256 i; i < nodes.length; i += Packed.WORD) {
                Deviation d = deviationAt(nodes, i);
                uint256 restWh = d.demandWh();
                if (restWh != 0) {
                    uint256 takeableWh = d.takeableWh();
                    if (sells != 0 && takeableWh != 0) {
                        uint256 boughtWh = selling.serveDemand(sells, takeableWh);
                        sold.add(d.node(), false, boughtWh);
                        restWh -= boughtWh; // what is takeable is part of the demand
                    }
                    if (balances != 0) balanced.add(d.node(), false, local.serveDemand(balances, restWh));
                    continue;
                }
                restWh = d.surplusWh();
                if (restWh == 0) continue;
                if (sells != 0 && d.has(OFFER)) {
                    uint256 soldWh = selling.serveSupply(sells, restWh);
                    sold.add(d.node(), true, soldWh);
                    restWh -= soldWh;
                }
                if (balances != 0) balanced.add(d.node(), true, local.serveSupply(balances, restWh));
            }
        }
        return (sold, balanced, selling, local);
    }
}
