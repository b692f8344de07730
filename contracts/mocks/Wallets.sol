// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title An account with code that accepts its owner's signatures
contract Wallet is IERC1271 {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view virtual returns (bytes4) {
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        return signer == OWNER ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @title An account that accepts, if it is given the gas it may take
contract ThirstyWallet is IERC1271 {
    uint256 private constant GAS = 99_000;

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        return gasleft() > GAS ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @title An account that reverts with a long reason
contract RefusingWallet is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        assembly {
            revert(0, 10000)
        }
    }
}

/// @title An account that burns all the gas it gets
contract BurningWallet is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        assembly {
            invalid()
        }
    }
}

/// @title An account that returns as much as its gas allows, none of it an acceptance
contract BombingWallet is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        assembly {
            return(0, 200000)
        }
    }
}

/// @title An account that returns the right four bytes, but not the word they must come in
contract CurtWallet is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        bytes4 magic = IERC1271.isValidSignature.selector;
        assembly {
            mstore(0, magic)
            return(0, 4)
        }
    }
}
