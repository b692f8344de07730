// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQueries, QueryKind} from "../interfaces/IQueries.sol";

/// @title Base of every contract that asks the oracle (Peng, section IV-C)
/// @notice Inherit, ask with `_ask`, and act on the answer in `_answered`. The answer comes in a transaction of its own,
/// with the gas asked for; if `_answered` reverts or runs out of it, the answer is lost and the fee spent.
abstract contract OracleConsumer {
    IQueries internal immutable ORACLE;

    /// @notice Only the oracle calls back.
    error NotOracle(address caller);

    constructor(IQueries oracle) {
        ORACLE = oracle;
    }

    /// @notice Takes the refunds that `_collectRefunds` asks for.
    receive() external payable virtual {}

    /// @notice The oracle's answer. Energy in Wh, prices in micro-yuan per kWh.
    /// @param id What `_ask` returned.
    /// @param value The value the committee fixed.
    function __callback(bytes32 id, uint256 value) external {
        if (msg.sender != address(ORACLE)) revert NotOracle(msg.sender);
        _answered(id, value);
    }

    /// @dev Asks for a value; see `IQueries.query`.
    function _ask(bytes32 meter, uint32 period, QueryKind kind, uint32 callbackGas, uint256 feeWei)
        internal
        returns (bytes32 id)
    {
        return ORACLE.query{value: feeWei}(meter, period, kind, callbackGas);
    }

    /// @dev Has the oracle pay out what unanswered queries left.
    function _collectRefunds() internal {
        ORACLE.collectFees();
    }

    /// @dev Acts on an answer.
    function _answered(bytes32 id, uint256 value) internal virtual;
}
