// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deviation, toDeviation} from "../types/Deviation.sol";
import {TAKE} from "../types/Options.sol";
import {Plan} from "../types/Plan.sol";
import {Reading} from "../types/Reading.sol";
import {Prices} from "../types/Types.sol";
import {Amounts} from "./Amounts.sol";

/// @notice The arithmetic of SPEC section 6 for one node: its deviation from the plan and what it pays.
/// @dev Unchecked throughout: energies are below 2^41 Wh, prices below 2^32, so no product or sum comes near 2^256, and
/// every subtraction is of the smaller from the larger, as the comparison before it or its comment says.
library Settlement {
    using Amounts for uint256;

    /// The part of its purchase, one in so many, that a node may take beyond it at the selling price (tau = 20 %).
    uint256 private constant TAKE_PART = 5;

    /// @notice Compares a node's plan with its reading.
    /// @param node The node.
    /// @param p Its plan.
    /// @param r Its reading in the report that counts.
    /// @param finalMode Whether an unread meter counts as having delivered nothing.
    /// @return Its deviation, flagged if the meter was not read.
    function deviation(uint256 node, Plan p, Reading r, bool finalMode) internal pure returns (Deviation) {
        unchecked {
            (uint256 sold, uint256 bought) = (p.soldWh(), p.boughtWh());
            (uint256 exportWh, uint256 importWh) = (r.exportWh(), r.importWh());
            bool flagged = r.exists() ? r.isSubstituted() : p.exists();
            if (flagged) {
                if (!r.exists()) (exportWh, importWh) = (sold, bought);
                exportWh = finalMode ? 0 : _min(exportWh, sold);
                if (importWh < bought) importWh = bought;
            }
            // d = (E - I) - (Qs - Qb), written without going below zero.
            (uint256 up, uint256 down) = (exportWh + bought, importWh + sold);
            if (up == down) return toDeviation(node, flagged, p.options(), 0, 0, 0, 0, 0);
            if (up < down) {
                uint256 short = sold > exportWh ? _min(down - up, sold - exportWh) : 0;
                uint256 extra = down - up - short;
                uint256 takeable = p.options() & TAKE != 0 ? _min(extra, bought / TAKE_PART) : 0;
                return toDeviation(node, flagged, p.options(), takeable, short, extra, 0, 0);
            }
            uint256 over = exportWh > sold ? _min(up - down, exportWh - sold) : 0;
            return toDeviation(node, flagged, p.options(), 0, 0, 0, over, up - down - over);
        }
    }

    /// @notice What a node gains from a settlement, micro-yuan; negative if it pays.
    /// @param p The node's plan.
    /// @param d Its deviation.
    /// @param left1 What compensation left of it.
    /// @param left2 What selling left of that.
    /// @param left3 What the local balance left of that: the grid company's part.
    /// @param prices The period's prices.
    /// @return gain What it gains.
    /// @return feeNyuan The network fee in it, before rounding, nano-yuan.
    function net(Plan p, Deviation d, Deviation left1, Deviation left2, Deviation left3, Prices memory prices)
        internal
        pure
        returns (int256 gain, uint256 feeNyuan)
    {
        unchecked {
            uint256 gets = p.receiveNyuan().down();
            uint256 pays = p.payNyuan().up();
            feeNyuan = prices.fee * (p.boughtWh() + d.extraWh());
            if (feeNyuan != 0) pays += feeNyuan.up();
            // What is left never exceeds what was there, and a node has demand or surplus, never both.
            uint256 demand = d.demandWh();
            if (demand != 0) {
                (uint256 rest1, uint256 rest2, uint256 rest3) = (left1.demandWh(), left2.demandWh(), left3.demandWh());
                pays += ((demand - rest1) * prices.compensation).up() + ((rest1 - rest2) * prices.selling).up()
                    + ((rest2 - rest3) * prices.compensation).up() + (rest3 * prices.retail).up();
            } else if (d.surplusWh() != 0) {
                (uint256 rest1, uint256 rest2, uint256 rest3) = (left1.surplusWh(), left2.surplusWh(), left3.surplusWh());
                gets += ((d.surplusWh() - rest1) * prices.compensation).down()
                    + ((rest1 - rest2) * prices.selling).down() + ((rest2 - rest3) * prices.selling).down()
                    + (rest3 * prices.feedIn).down();
            }
            gain = int256(gets) - int256(pays); // both below 2^67
        }
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
