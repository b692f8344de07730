// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQueries, QueryKind} from "../interfaces/IQueries.sol";
import {Records} from "../libraries/Records.sol";
import {Roots} from "../libraries/Roots.sol";
import {Reading, ReadingFields} from "../types/Reading.sol";
import {Prices} from "../types/Types.sol";
import {OracleConsumer} from "./OracleConsumer.sol";
import {PriceBoard} from "./PriceBoard.sol";
import {Reports} from "./Reports.sol";

/// @title Asking the oracle from any contract (Peng, section IV-C)
/// @notice Documented in `IQueries`.
abstract contract Queries is IQueries, PriceBoard, Reports {
    struct Query {
        address consumer;
        uint32 period;
        QueryKind kind;
        uint32 callbackGas;
        bytes32 meter;
        uint256 feeWei;
    }

    uint256 private constant LEAST_CALLBACK_GAS = 30_000;
    uint256 private constant MOST_CALLBACK_GAS = 1_000_000;
    /// Gas kept for what follows the callback.
    uint256 private constant AFTER_CALLBACK_GAS = 20_000;

    mapping(bytes32 id => Query) private _queries;
    mapping(address account => uint256) private _fees;
    uint256 private _asked;

    /// @inheritdoc IQueries
    function query(bytes32 meter, uint32 period, QueryKind kind, uint32 callbackGas)
        external
        payable
        returns (bytes32 id)
    {
        if (msg.sender.code.length == 0) revert NotAContract(msg.sender);
        if (callbackGas < LEAST_CALLBACK_GAS || callbackGas > MOST_CALLBACK_GAS) {
            revert CallbackGasOutOfBounds(callbackGas);
        }
        if (kind <= QueryKind.ImportWh && REGISTRY.nodeOfMeter(meter) == 0) revert UnknownMeter(meter);
        id = keccak256(abi.encode(MARKET, this, ++_asked));
        _queries[id] = Query({
            consumer: msg.sender,
            period: period,
            kind: kind,
            callbackGas: callbackGas,
            meter: meter,
            feeWei: msg.value
        });
        emit Queried(id, msg.sender, meter, period, kind, callbackGas, msg.value);
    }

    /// @inheritdoc IQueries
    function deliver(bytes32 id, bytes32[] calldata bucketHashes, bytes calldata bucket) external {
        Query memory q = _take(id);
        uint256 value = q.kind <= QueryKind.ImportWh ? _energy(q, bucketHashes, bucket) : _price(q);
        _fees[msg.sender] += q.feeWei;
        // A call gets at most 63/64 of the gas left; less than promised would let a deliverer make the callback fail.
        uint256 needed = uint256(q.callbackGas) * 64 / 63 + AFTER_CALLBACK_GAS;
        if (gasleft() < needed) revert GasTooLow(gasleft(), needed);
        emit Delivered(id, value, _callBack(q.consumer, q.callbackGas, id, value));
    }

    /// @inheritdoc IQueries
    function refund(bytes32 id) external {
        Query memory q = _take(id);
        uint256 opensAt = _windowEnd(q.period);
        if (block.timestamp < opensAt) revert RefundTooEarly(id, opensAt);
        _fees[q.consumer] += q.feeWei;
        emit Refunded(id, q.feeWei);
    }

    /// @inheritdoc IQueries
    function collectFees() external {
        uint256 amount = _fees[msg.sender];
        delete _fees[msg.sender];
        (bool paid,) = msg.sender.call{value: amount}("");
        if (!paid || amount == 0) revert NothingPaid(msg.sender, amount);
    }

    /// @inheritdoc IQueries
    function feesOf(address account) external view returns (uint256) {
        return _fees[account];
    }

    /// @dev Takes an open query away before anything else happens, so that it is answered or refunded once.
    function _take(bytes32 id) private returns (Query memory q) {
        q = _queries[id];
        if (q.consumer == address(0)) revert UnknownQuery(id);
        delete _queries[id];
    }

    function _energy(Query memory q, bytes32[] calldata bucketHashes, bytes calldata bucket)
        private
        view
        returns (uint256)
    {
        uint32 node = REGISTRY.nodeOfMeter(q.meter);
        uint256 b = node >> 8;
        if (bucketHashes.length == 0 || Roots.fold(bucketHashes) != _latestRoot(q.period)) revert NotTheReport(q.period);
        if (b >= bucketHashes.length) revert NotMeasured(q.meter, q.period);
        if (bucketHashes[b] != keccak256(bucket)) revert NotTheReport(q.period);
        Reading reading = _find(bucket, node & 0xff);
        if (!reading.exists() || reading.isSubstituted()) revert NotMeasured(q.meter, q.period);
        return q.kind == QueryKind.ExportWh ? reading.exportWh() : reading.importWh();
    }

    function _find(bytes calldata bucket, uint256 index) private pure returns (Reading reading) {
        for (uint256 offset; offset < bucket.length; offset += Records.READING) {
            if (Records.indexAt(bucket, offset) != index) continue;
            return ReadingFields.fromRecord(Records.readingAt(bucket, offset));
        }
    }

    function _price(Query memory q) private view returns (uint256) {
        Prices memory p = pricesOf(q.period);
        if (q.kind == QueryKind.PlannedPrice) return p.planned;
        return q.kind == QueryKind.CompensationPrice ? p.compensation : p.selling;
    }

    /// @dev Calls back without copying what the consumer returns, which could cost the deliverer without bound.
    function _callBack(address consumer, uint256 gasAsked, bytes32 id, uint256 value) private returns (bool success) {
        bytes memory data = abi.encodeCall(OracleConsumer.__callback, (id, value));
        assembly ("memory-safe") {
            success := call(gasAsked, consumer, 0, add(data, 0x20), mload(data), 0, 0)
        }
    }
}
