// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IBallots} from "./IBallots.sol";
import {IClearings} from "./IClearings.sol";
import {ICommittee} from "./ICommittee.sol";
import {IHeadrooms} from "./IHeadrooms.sol";
import {IPriceBoard} from "./IPriceBoard.sol";
import {IQueries} from "./IQueries.sol";
import {IReports} from "./IReports.sol";

/// @title Everything the chain cannot see, decided by one quorum
interface IOracle is IQueries, IPriceBoard, IReports, IClearings, IHeadrooms, IBallots, ICommittee {}
