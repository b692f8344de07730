// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Commits to the buckets of a period: `root_(b+1) = keccak256(root_b ++ hash_b)` from `root_0 = 0`.
library Roots {
    /// @notice Adds one bucket's hash to a root.
    function extend(bytes32 root, bytes32 bucketHash) internal pure returns (bytes32 extended) {
        assembly ("memory-safe") {
            mstore(0x00, root)
            mstore(0x20, bucketHash)
            extended := keccak256(0x00, 0x40)
        }
    }

    /// @notice The root of a list of bucket hashes; zero for none.
    function fold(bytes32[] calldata bucketHashes) internal pure returns (bytes32 root) {
        for (uint256 b; b < bucketHashes.length; ++b) {
            root = extend(root, bucketHashes[b]);
        }
    }
}
