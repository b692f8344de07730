import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from market.devnet import (
    Anvil,
    AnvilFailed,
    AnvilMissing,
    DevnetError,
    find_anvil,
    npm_anvil,
    rpc,
)

TRANSACTION_GAS_LIMIT = 2**24
PROCESS_TIMEOUT_S = 20.0


def make_executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


class TestFindAnvil:
    def test_variable_comes_first(self, tmp_path: Path) -> None:
        named = make_executable(tmp_path / "named")
        on_path = make_executable(tmp_path / "bin" / "anvil")
        make_executable(npm_anvil(tmp_path))
        environment = {"SUBGRID_ANVIL": str(named), "PATH": str(on_path.parent)}
        assert find_anvil(environment, tmp_path) == named

    def test_path_comes_second(self, tmp_path: Path) -> None:
        on_path = make_executable(tmp_path / "bin" / "anvil")
        make_executable(npm_anvil(tmp_path))
        assert find_anvil({"PATH": str(on_path.parent)}, tmp_path) == on_path

    def test_npm_comes_third(self, tmp_path: Path) -> None:
        from_npm = make_executable(npm_anvil(tmp_path))
        assert find_anvil({"PATH": str(tmp_path / "empty")}, tmp_path) == from_npm

    def test_none__names_every_place_and_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(AnvilMissing) as caught:
            find_anvil({"PATH": str(tmp_path)}, tmp_path)
        message = str(caught.value)
        assert "SUBGRID_ANVIL" in message
        assert "PATH" in message
        assert str(npm_anvil(tmp_path)) in message
        assert "make demo" in message

    def test_variable_with_wrong_path__is_not_passed_over(self, tmp_path: Path) -> None:
        on_path = make_executable(tmp_path / "bin" / "anvil")
        environment = {"SUBGRID_ANVIL": "/no/such/anvil", "PATH": str(on_path.parent)}
        with pytest.raises(AnvilMissing, match="/no/such/anvil is not an executable"):
            find_anvil(environment, tmp_path)


class TestAnvil:
    def test_two_chains__have_ports_and_blocks_of_their_own(self) -> None:
        with Anvil() as one, Anvil() as other:
            assert one.url != other.url
            rpc(one.url, "evm_mine")
            assert rpc(one.url, "eth_blockNumber") == "0x1"
            assert rpc(other.url, "eth_blockNumber") == "0x0"

    def test_options__shape_the_chain(self) -> None:
        with Anvil(accounts=3, genesis_timestamp=1_700_000_000, chain_id=7) as chain:
            assert len(rpc(chain.url, "eth_accounts")) == 3
            assert int(rpc(chain.url, "eth_chainId"), 16) == 7
            genesis = rpc(chain.url, "eth_getBlockByNumber", ["0x0", False])
            assert int(genesis["timestamp"], 16) == 1_700_000_000

    def test_transaction_above_gas_limit__is_refused(self) -> None:
        with Anvil() as chain:
            sender = rpc(chain.url, "eth_accounts")[0]
            transaction = {"from": sender, "to": sender, "gas": hex(TRANSACTION_GAS_LIMIT)}
            assert rpc(chain.url, "eth_sendTransaction", [transaction])
            transaction["gas"] = hex(TRANSACTION_GAS_LIMIT + 1)
            with pytest.raises(DevnetError, match="refuses eth_sendTransaction"):
                rpc(chain.url, "eth_sendTransaction", [transaction])

    def test_state_file__carries_the_chain_on(self, tmp_path: Path) -> None:
        state = tmp_path / "state.json"
        with Anvil(state=state) as chain:
            rpc(chain.url, "evm_mine")
        with Anvil(state=state) as chain:
            assert rpc(chain.url, "eth_blockNumber") == "0x1"

    def test_state_file__carries_a_made_up_clock_on(self, tmp_path: Path) -> None:
        """By itself anvil would make the next block at its genesis, before all that it has."""
        state, start_s = tmp_path / "state.json", 1_700_000_000
        with Anvil(genesis_timestamp=start_s, state=state) as chain:
            rpc(chain.url, "evm_setNextBlockTimestamp", [start_s + 5_000])
            rpc(chain.url, "evm_mine")
            known = [rpc(chain.url, "eth_getBlockByNumber", [hex(n), False]) for n in range(2)]
        for _ in range(4):
            with Anvil(genesis_timestamp=start_s, state=state) as chain:
                rpc(chain.url, "evm_mine")
                now = [rpc(chain.url, "eth_getBlockByNumber", [hex(n), False]) for n in range(3)]
            # Its genesis, too: by that a market knows its chain.
            assert now[:2] == known
            assert int(now[2]["timestamp"], 16) >= start_s + 5_000

    def test_state_file__damaged__is_named(self, tmp_path: Path) -> None:
        state = tmp_path / "state.json"
        state.write_text('{"block": ')
        with pytest.raises(AnvilFailed, match="holds no chain; remove it"):
            Anvil(state=state).start()

    def test_stop__ends_the_process(self) -> None:
        with Anvil() as chain:
            url = chain.url
            ended = os.pidfd_open(chain.pid)
        assert select.select([ended], [], [], PROCESS_TIMEOUT_S)[0]
        os.close(ended)
        with pytest.raises(DevnetError, match="does not answer"):
            rpc(url, "eth_blockNumber")
        with pytest.raises(AnvilFailed, match="not running"):
            _ = chain.url

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to its parent")
    def test_killed_parent__takes_the_chain_along(self) -> None:
        program = (
            "import time; from market.devnet import Anvil\n"
            "with Anvil() as chain: print(chain.pid, flush=True); time.sleep(600)"
        )
        parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert parent.stdout is not None
        ended = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
        assert select.select([ended], [], [], PROCESS_TIMEOUT_S)[0]
        os.close(ended)

    def test_bad_option__carries_what_anvil_says(self) -> None:
        with pytest.raises(AnvilFailed, match="--bogus"):
            Anvil(options=("--bogus",)).start()

    def test_file_that_is_no_program__says_so(self, tmp_path: Path) -> None:
        broken = tmp_path / "anvil"
        broken.write_bytes(b"\x7fELF")
        broken.chmod(0o755)
        with pytest.raises(AnvilFailed, match="does not start"):
            Anvil(executable=broken).start()
