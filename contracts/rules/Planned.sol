// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Terms} from "../interfaces/IRule.sol";
import {Pool} from "./Pool.sol";

/// @title Everybody willing at P_p trades at P_p, as far as the short side and the lines allow
/// @notice docs/clearing.md section 5.
contract Planned is Pool {
    /// @inheritdoc Pool
    function _band(Terms calldata terms) internal pure override returns (Band memory) {
        (uint256 low, uint256 high, uint256 planned) = (terms.low, terms.high, terms.planned);
        return Band(planned > low ? planned : low, high, low, planned < high ? planned : high);
    }

    /// @inheritdoc Pool
    function _price(Terms calldata terms, uint256, uint256) internal pure override returns (uint256) {
        return terms.planned;
    }
}
