// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Leg} from "../types/Types.sol";
import {Amounts} from "./Amounts.sol";

/// @notice Serves both sides of a settlement leg pro rata, node by node (SPEC section 6).
library Legs {
    /// @notice Energy the leg moves, Wh: the smaller side, whole.
    function tradedWh(Leg memory leg) internal pure returns (uint256) {
        return leg.demandWh < leg.supplyWh ? leg.demandWh : leg.supplyWh;
    }

    /// @notice What the next node on the demand side gets of its `quantity`, Wh; `traded` is what the leg moves.
    function serveDemand(Leg memory leg, uint256 traded, uint256 quantity) internal pure returns (uint256 share) {
        share = Amounts.share(traded, leg.demandSeenWh, quantity, leg.demandWh);
        unchecked {
            leg.demandSeenWh += quantity; // up to the leg's demand
        }
    }

    /// @notice What the next node on the supply side places of its `quantity`, Wh; `traded` is what the leg moves.
    function serveSupply(Leg memory leg, uint256 traded, uint256 quantity) internal pure returns (uint256 share) {
        share = Amounts.share(traded, leg.supplySeenWh, quantity, leg.supplyWh);
        unchecked {
            leg.supplySeenWh += quantity; // up to the leg's supply
        }
    }
}
