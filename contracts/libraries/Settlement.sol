// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deviation, toDeviation} from "../types/Deviation.sol";
import {TAKE} from "../types/Options.sol";
import {Plan} from "../types/Plan.sol";
import {Reading} from "../types/Reading.sol";
import {Prices} from "../types/Types.sol";
import {Amounts} from "./Amounts.sol";
import {ShareLog, Shares} from "./ShareLog.sol";

/// What the slaves made of some nodes, in ascending order.
/// @param left The nodes' deviations, a word each, as compensation left them.
/// @param compensated Shares of leg 1.
/// @param sold Shares of leg 2.
/// @param balanced Shares of leg 3.
struct Course {
    bytes left;
    Shares compensated;
    Shares sold;
    Shares balanced;
}

/// @notice The arithmetic of SPEC section 6 for one node: its deviation from the plan and what it pays.
/// @dev Unchecked throughout: energies are below 2^41 Wh, prices below 2^32, so no product or sum comes near 2^256, and
/// every subtraction is of the smaller from the larger, as the comparison before it or its comment says.
library Settlement {
    using Amounts for uint256;
    using ShareLog for Shares;

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
    /// @param left Its deviation as compensation left it.
    /// @param course The shares of all nodes; moves on behind this node's.
    /// @param prices The period's prices.
    /// @return gain What it gains.
    /// @return feeNyuan The network fee in it, before rounding, nano-yuan.
    /// @return importedWh What the node bought from the grid company.
    /// @return exportedWh What the node sold to the grid company.
    function net(Plan p, Deviation left, Course memory course, Prices memory prices)
        internal
        pure
        returns (int256 gain, uint256 feeNyuan, uint256 importedWh, uint256 exportedWh)
    {
        unchecked {
            uint256 node = left.node();
            uint256 gets = p.receiveNyuan().down();
            feeNyuan = prices.fee * (p.boughtWh() + left.extraWh());
            uint256 pays = p.payNyuan().up() + feeNyuan.up();
            (uint256 bought, uint256 sold) = course.compensated.next(node);
            pays += (bought * prices.compensation).up();
            gets += (sold * prices.compensation).down();
            (importedWh, exportedWh) = (left.demandWh(), left.surplusWh());
            if (importedWh | exportedWh != 0) {
                (bought, sold) = course.sold.next(node);
                pays += (bought * prices.selling).up();
                gets += (sold * prices.selling).down();
                (importedWh, exportedWh) = (importedWh - bought, exportedWh - sold);
                (bought, sold) = course.balanced.next(node);
                pays += (bought * prices.compensation).up();
                gets += (sold * prices.selling).down();
                (importedWh, exportedWh) = (importedWh - bought, exportedWh - sold);
                pays += (importedWh * prices.retail).up();
                gets += (exportedWh * prices.feedIn).down();
            }
            gain = int256(gets) - int256(pays); // both below 2^67
        }
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
