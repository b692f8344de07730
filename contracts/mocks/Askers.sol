// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQueries, QueryKind} from "../interfaces/IQueries.sol";
import {OracleConsumer} from "../oracle/OracleConsumer.sol";

/// @title A consumer that asks and remembers the answer
contract Asker is OracleConsumer {
    bytes32 public asked;
    bytes32 public answeredId;
    uint256 public answer;
    /// Gas the callback found left when it began.
    uint256 public gasGiven;
    bool public refusesMoney;

    constructor(IQueries oracle) OracleConsumer(oracle) {}

    function ask(bytes32 meter, uint32 period, QueryKind kind, uint32 callbackGas) external payable {
        asked = _ask(meter, period, kind, callbackGas, msg.value);
    }

    function collectFees() external {
        _collectRefunds();
    }

    function refuseMoney() external {
        refusesMoney = true;
    }

    receive() external payable override {
        require(!refusesMoney);
    }

    function _answered(bytes32 id, uint256 value) internal virtual override {
        (answeredId, answer, gasGiven) = (id, value, gasleft());
    }
}

/// @title A consumer that refuses every answer
contract RefusingAsker is Asker {
    error Unwanted(uint256 value);

    constructor(IQueries oracle) Asker(oracle) {}

    function _answered(bytes32, uint256 value) internal pure override {
        revert Unwanted(value);
    }
}

/// @title A consumer that burns all the gas it gets
contract BurningAsker is Asker {
    constructor(IQueries oracle) Asker(oracle) {}

    function _answered(bytes32, uint256) internal pure override {
        assembly {
            invalid()
        }
    }
}

/// @title A consumer that returns as many bytes as its gas can pay for
contract BabblingAsker is Asker {
    constructor(IQueries oracle) Asker(oracle) {}

    function _answered(bytes32, uint256) internal pure override {
        assembly {
            return(0, 200000)
        }
    }
}

/// @title A consumer that tries to be answered, refunded and paid once more while it is being answered
contract ReenteringAsker is Asker {
    uint256 public attempts;
    uint256 public refusals;

    constructor(IQueries oracle) Asker(oracle) {}

    function _answered(bytes32 id, uint256 value) internal override {
        super._answered(id, value);
        bytes[3] memory calls = [
            abi.encodeCall(IQueries.deliver, (id, new bytes32[](0), "")),
            abi.encodeCall(IQueries.refund, (id)),
            abi.encodeCall(IQueries.collectFees, ())
        ];
        for (uint256 i; i < calls.length; ++i) {
            ++attempts;
            (bool success,) = address(ORACLE).call(calls[i]);
            if (!success) ++refusals;
        }
    }
}
