// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAgreements} from "./IAgreements.sol";
import {IOrders} from "./IOrders.sol";

/// @title What members ask for, until the gate closes
interface IBook is IAgreements, IOrders {}
