// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Terms} from "../interfaces/IRule.sol";
import {Pool} from "./Pool.sol";

/// @title The greatest welfare, at one price per zone between its marginal orders
/// @notice docs/clearing.md section 4.
contract Uniform is Pool {
    /// @inheritdoc Pool
    function _band(Terms calldata terms) internal pure override returns (Band memory) {
        return Band(terms.low, terms.high, terms.low, terms.high);
    }

    /// @inheritdoc Pool
    function _price(Terms calldata, uint256 low, uint256 high) internal pure override returns (uint256) {
        return (low + high) / 2;
    }
}
