// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Master} from "../Master.sol";
import {Schedule} from "../types/Types.sol";

/// @title A master that may stop after every node, so that small periods can be settled in many steps
contract TinyStepMaster is Master {
    constructor(Schedule memory s, Rooms memory rooms) Master(s, rooms) {}

    function _leastNodes() internal pure override returns (uint256) {
        return 1;
    }
}
