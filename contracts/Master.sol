// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clearing} from "./master/Clearing.sol";
import {Periods} from "./master/Periods.sol";
import {Settling} from "./master/Settling.sol";
import {Schedule} from "./types/Types.sol";

/// @title The period's life
/// @notice Puts clearing and settlement together; each lives in `master/`.
contract Master is Clearing, Settling {
    constructor(Schedule memory s, Rooms memory rooms) Periods(s, rooms) {}
}
