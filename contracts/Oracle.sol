// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clock} from "./Clock.sol";
import {IOracle} from "./interfaces/IOracle.sol";
import {Proposal, Topic} from "./interfaces/IBallots.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Ballots} from "./oracle/Ballots.sol";
import {Committee} from "./oracle/Committee.sol";
import {PriceBoard} from "./oracle/PriceBoard.sol";
import {Queries} from "./oracle/Queries.sol";
import {Limits, Prices, Schedule} from "./types/Types.sol";

/// @title Everything the chain cannot see, decided by one quorum
/// @notice Puts the committee, its ballots, prices, reports and queries together; each lives in `oracle/`.
contract Oracle is IOracle, Queries {
    constructor(
        Schedule memory s,
        IRegistry registry,
        address[] memory seats,
        Limits memory limits_,
        Prices memory benchmark
    ) Clock(s) Committee(registry, seats) Ballots() PriceBoard(limits_, benchmark) {}

    /// @inheritdoc Ballots
    function _checkVotable(Proposal calldata p) internal view override {
        uint256 closedAt = p.topic == Topic.Prices ? _priceDeadline(p.period) : _windowEnd(p.period);
        if (block.timestamp >= closedAt) revert TooLate(p.period, closedAt);
    }

    /// @inheritdoc Ballots
    function _isDecided(Proposal calldata p) internal view override returns (bool) {
        return p.topic == Topic.Prices ? _arePricesAccepted(p.period) : _latestVersion(p.period) >= p.version;
    }

    /// @inheritdoc Ballots
    function _accept(Proposal calldata p) internal override {
        if (p.topic == Topic.Prices) _acceptPrices(p.period, p.digest);
        else _acceptReport(p.period, p.version, p.digest);
    }
}
