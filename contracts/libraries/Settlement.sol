// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deviation, toDeviation} from "../types/Deviation.sol";
import {TAKE} from "../types/Options.sol";
import {Plan} from "../types/Plan.sol";
import {Reading} from "../types/Reading.sol";
import {Prices} from "../types/Types.sol";
import {Amounts} from "./Amounts.sol";
import {ShareLog, Shares} from "./ShareLog.sol";

/// What the slaves made of some nodes, in ascending order, and the sums over those whose nets are known.
/// @param left The nodes' deviations, a word each, as compensation left them.
/// @param compensated Shares of leg 1.
/// @param sold Shares of leg 2.
/// @param balanced Shares of leg 3.
/// @param netUyuan Their nets.
/// @param feesNyuan The network fees in them, before rounding.
/// @param rentNyuan What their plans pay more than they receive; negative if less.
/// @param importedWh What they bought from the grid company.
/// @param exportedWh What they sold to the grid company.
struct Course {
    bytes left;
    Shares compensated;
    Shares sold;
    Shares balanced;
    int256 netUyuan;
    uint256 feesNyuan;
    int256 rentNyuan;
    uint256 importedWh;
    uint256 exportedWh;
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
    /// @param course The shares of all nodes; moves on behind this node's and adds the node to its sums.
    /// @param prices The period's prices.
    /// @return gain What it gains.
    function net(Plan p, Deviation left, Course memory course, Prices memory prices)
        internal
        pure
        returns (int256 gain)
    {
        unchecked {
            uint256 node = left.node();
            (uint256 gets, uint256 pays) = (p.receiveNyuan(), p.payNyuan());
            course.rentNyuan += int256(pays) - int256(gets);
            (gets, pays) = (gets.down(), pays.up());
            uint256 feeNyuan = prices.fee * (p.boughtWh() + left.extraWh());
            if (feeNyuan != 0) {
                pays += feeNyuan.up();
                course.feesNyuan += feeNyuan;
            }
            (uint256 shareWh, bool supplied) = course.compensated.next(node);
            if (supplied) gets += (shareWh * prices.compensation).down();
            else if (shareWh != 0) pays += (shareWh * prices.compensation).up();
            // A node has demand or surplus left, never both.
            uint256 restWh = left.demandWh();
            if (restWh != 0) {
                (shareWh,) = course.sold.next(node);
                pays += (shareWh * prices.selling).up();
                restWh -= shareWh;
                (shareWh,) = course.balanced.next(node);
                restWh -= shareWh;
                pays += (shareWh * prices.compensation).up() + (restWh * prices.retail).up();
                course.importedWh += restWh;
            } else {
                restWh = left.surplusWh();
                if (restWh != 0) {
                    (shareWh,) = course.sold.next(node);
                    gets += (shareWh * prices.selling).down();
                    restWh -= shareWh;
                    (shareWh,) = course.balanced.next(node);
                    restWh -= shareWh;
                    gets += (shareWh * prices.selling).down() + (restWh * prices.feedIn).down();
                    course.exportedWh += restWh;
                }
            }
            gain = int256(gets) - int256(pays); // both below 2^67
            course.netUyuan += gain;
        }
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
