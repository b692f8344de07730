// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clock} from "./Clock.sol";
import {Proposal, Topic} from "./interfaces/IBallots.sol";
import {IClearingVote} from "./interfaces/IClearingVote.sol";
import {IGrid} from "./interfaces/IGrid.sol";
import {IOracle} from "./interfaces/IOracle.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Ballots} from "./oracle/Ballots.sol";
import {Clearings} from "./oracle/Clearings.sol";
import {Committee} from "./oracle/Committee.sol";
import {Headrooms} from "./oracle/Headrooms.sol";
import {PriceBoard} from "./oracle/PriceBoard.sol";
import {Queries} from "./oracle/Queries.sol";
import {Limits, Prices, Schedule} from "./types/Types.sol";

/// @title Everything the chain cannot see, decided by one quorum
/// @notice Puts the committee, its ballots, prices, reports, headrooms, votes on clearings and queries together; each lives in
/// `oracle/`.
contract Oracle is IOracle, Queries, Clearings {
    constructor(
        Schedule memory s,
        IRegistry registry,
        IGrid grid,
        IClearingVote master,
        address[] memory seats,
        Limits memory limits_,
        Prices memory benchmark
    )
        Clock(s)
        Committee(registry, seats)
        Ballots()
        PriceBoard(limits_, benchmark)
        Headrooms(grid)
        Clearings(master)
    {}

    /// @inheritdoc Ballots
    function _checkVotable(Proposal calldata p) internal view override {
        uint256 closedAt = _windowEnd(p.period);
        if (p.topic == Topic.Prices) closedAt = _priceDeadline(p.period);
        else if (p.topic == Topic.Headroom) closedAt = _gate(p.period);
        if (block.timestamp >= closedAt) revert TooLate(p.period, closedAt);
    }

    /// @inheritdoc Ballots
    function _isDecided(Proposal calldata p) internal view override returns (bool) {
        if (p.topic == Topic.Prices) return _arePricesAccepted(p.period);
        if (p.topic == Topic.Headroom) return _isHeadroomAccepted(p.period);
        return _latestVersion(p.period) >= p.version;
    }

    /// @inheritdoc Ballots
    function _accept(Proposal calldata p) internal override {
        if (p.topic == Topic.Prices) _acceptPrices(p.period, p.digest);
        else if (p.topic == Topic.Headroom) _acceptHeadroom(p.period, p.digest);
        else _acceptReport(p.period, p.version, p.digest);
    }
}
