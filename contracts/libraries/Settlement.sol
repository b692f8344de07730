// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deviation, toDeviation} from "../types/Deviation.sol";
import {TAKE} from "../types/Options.sol";
import {Prices} from "../types/Types.sol";
import {Amounts} from "./Amounts.sol";
import {Entry, Reading} from "./Entries.sol";

/// @notice The arithmetic of SPEC section 6 for one node: its deviation from the plan and what it pays.
library Settlement {
    using Amounts for uint256;

    /// The part of its purchase, one in so many, that a node may take beyond it at the selling price (tau = 20 %).
    uint256 private constant TAKE_PART = 5;

    /// @notice Compares a node's plan with its reading.
    /// @param e The node.
    /// @param r Its reading in the report that counts.
    /// @param finalMode Whether an unread meter counts as having delivered nothing.
    /// @return d Its deviation.
    /// @return flagged Whether its meter was not read.
    function deviation(Entry memory e, Reading memory r, bool finalMode)
        internal
        pure
        returns (Deviation d, bool flagged)
    {
        (uint256 exportWh, uint256 importWh) = (r.exportWh, r.importWh);
        flagged = r.present ? r.substituted : e.hasPosition;
        if (flagged) {
            if (!r.present) (exportWh, importWh) = (e.soldWh, e.boughtWh);
            exportWh = finalMode ? 0 : _min(exportWh, e.soldWh);
            if (importWh < e.boughtWh) importWh = e.boughtWh;
        }
        return (_deviation(e, exportWh, importWh), flagged);
    }

    /// @notice What a node gains from a settlement, micro-yuan; negative if it pays.
    /// @param e The node.
    /// @param d Its deviation.
    /// @param left1 What compensation left of it.
    /// @param left2 What selling left of that.
    /// @param left3 What the local balance left of that: the grid company's part.
    /// @param p The period's prices.
    /// @return gain What it gains.
    /// @return feeNyuan The network fee in it, before rounding, nano-yuan.
    function net(Entry memory e, Deviation d, Deviation left1, Deviation left2, Deviation left3, Prices memory p)
        internal
        pure
        returns (int256 gain, uint256 feeNyuan)
    {
        feeNyuan = p.fee * (e.boughtWh + d.extraWh());
        uint256 gets = e.receiveNyuan.down() + _part(d.surplusWh(), left1.surplusWh(), p.compensation).down()
            + _part(left1.surplusWh(), left2.surplusWh(), p.selling).down()
            + _part(left2.surplusWh(), left3.surplusWh(), p.selling).down() + (left3.surplusWh() * p.feedIn).down();
        uint256 pays = e.payNyuan.up() + _part(d.demandWh(), left1.demandWh(), p.compensation).up()
            + _part(left1.demandWh(), left2.demandWh(), p.selling).up()
            + _part(left2.demandWh(), left3.demandWh(), p.compensation).up() + (left3.demandWh() * p.retail).up()
            + feeNyuan.up();
        gain = int256(gets) - int256(pays); // both below 2^66
    }

    function _deviation(Entry memory e, uint256 exportWh, uint256 importWh) private pure returns (Deviation) {
        (uint256 short, uint256 extra, uint256 over, uint256 unused) = (0, 0, 0, 0);
        // d = (E - I) - (Qs - Qb), written without going below zero.
        (uint256 up, uint256 down) = (exportWh + e.boughtWh, importWh + e.soldWh);
        if (up < down) {
            short = _min(down - up, e.soldWh > exportWh ? e.soldWh - exportWh : 0);
            extra = down - up - short;
        } else {
            over = _min(up - down, exportWh > e.soldWh ? exportWh - e.soldWh : 0);
            unused = up - down - over;
        }
        uint256 takeable = e.options & TAKE != 0 ? _min(extra, e.boughtWh / TAKE_PART) : 0;
        return toDeviation(e.node, e.options, takeable, short, extra, over, unused);
    }

    /// @dev Value of what a leg took from a quantity, nano-yuan.
    function _part(uint256 beforeWh, uint256 afterWh, uint256 priceUyuanPerKwh) private pure returns (uint256) {
        return (beforeWh - afterWh) * priceUyuanPerKwh;
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
