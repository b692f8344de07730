import pytest

from market.ledger import (
    InDebtError,
    InsufficientFundsError,
    Ledger,
    LedgerError,
    Outcome,
    margin_uyuan,
    position_lock_uyuan,
)
from market.prices import Limits, PeriodPrices
from market.settlement import Transfer
from market.types import GRID_COMPANY, Position

A, B, C = 1, 2, 3
PERIOD = 7
PRICES = PeriodPrices(100, 200, 300, 400, 500, 7)


def pay(node: int, net: int, release: int = 0, *, flagged: bool = False) -> Transfer:
    return Transfer(node, net, release, flagged)


@pytest.fixture
def ledger() -> Ledger:
    """A has 100 free and 50 locked, the grid company has nothing."""
    ledger = Ledger()
    ledger.deposit(A, 150)
    ledger.lock(PERIOD, A, 50)
    return ledger


def balances(ledger: Ledger, node: int) -> tuple[int, int, int]:
    account = ledger.account(node)
    return account.free_uyuan, account.locked_uyuan, account.debt_uyuan


def test_lock__buyer_and_seller__round_up_separately() -> None:
    seller = Position(A, sold_wh=3, receive_nyuan=900)
    buyer = Position(B, bought_wh=3, pay_nyuan=980)
    both = Position(C, sold_wh=3, bought_wh=3, receive_nyuan=900, pay_nyuan=980)

    assert position_lock_uyuan(seller, PRICES) == 2
    assert position_lock_uyuan(buyer, PRICES) == 2
    assert position_lock_uyuan(both, PRICES) == 4
    assert position_lock_uyuan(Position(A), PRICES) == 0


def test_margin__rounds_up_per_period() -> None:
    limits = Limits(price_cap_uyuan_per_kwh=600, fee_cap_uyuan_per_kwh=1)

    assert margin_uyuan(3, limits, unsettled_periods=4) == 8
    assert margin_uyuan(3, limits, unsettled_periods=0) == 0


def test_lock__again__replaces_the_whole_position(ledger: Ledger) -> None:
    ledger.lock(PERIOD, A, 80)
    assert balances(ledger, A) == (70, 80, 0)

    ledger.lock(PERIOD + 1, A, 70)
    assert balances(ledger, A) == (0, 150, 0)


def test_lock__more_than_free__raises_and_changes_nothing(ledger: Ledger) -> None:
    with pytest.raises(InsufficientFundsError, match="node 1 has 100 uyuan free but needs 101"):
        ledger.lock(PERIOD, A, 151)

    assert balances(ledger, A) == (100, 50, 0)


def test_lock__in_debt__raises(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(A, -160, release=50)])

    with pytest.raises(InDebtError, match="owes 10 uyuan"):
        ledger.lock(PERIOD + 1, A, 0)


def test_enter__once_a_period__locks_apart_from_the_position(ledger: Ledger) -> None:
    assert ledger.enter(PERIOD, PERIOD, A, 60) is Outcome.ENTERED
    assert ledger.enter(PERIOD, PERIOD, A, 1) is Outcome.ALREADY_LIVE
    assert balances(ledger, A) == (40, 110, 0)

    ledger.apply(PERIOD, [pay(A, 5, release=110)])
    assert balances(ledger, A) == (150, 0, 0)


def test_enter__more_than_free_or_in_debt__changes_nothing(ledger: Ledger) -> None:
    assert ledger.enter(PERIOD, PERIOD, A, 101) is Outcome.INSUFFICIENT_FREE
    assert balances(ledger, A) == (100, 50, 0)

    ledger.apply(PERIOD, [pay(A, -160, release=50)])
    assert ledger.enter(PERIOD + 1, PERIOD + 1, A, 0) is Outcome.IN_DEBT


def test_enter__outside_the_window__raises(ledger: Ledger) -> None:
    for period in (PERIOD - 1, PERIOD + 96):
        with pytest.raises(LedgerError, match="not among the 96 periods from 7 on"):
            ledger.enter(period, PERIOD, A, 1)


def test_leave__releases_the_order_and_nothing_else(ledger: Ledger) -> None:
    ledger.enter(PERIOD, PERIOD, A, 60)
    ledger.leave(PERIOD, PERIOD, A)
    assert balances(ledger, A) == (100, 50, 0)
    with pytest.raises(LedgerError, match="node 1 has no order in period 7"):
        ledger.leave(PERIOD, PERIOD, A)
    assert ledger.enter(PERIOD, PERIOD, A, 100) is Outcome.ENTERED


def test_leave__in_debt__repays_before_anything_is_free(ledger: Ledger) -> None:
    ledger.enter(PERIOD + 1, PERIOD, A, 60)
    ledger.apply(PERIOD, [pay(A, -100, release=50)])
    assert balances(ledger, A) == (0, 60, 10)
    ledger.leave(PERIOD + 1, PERIOD, A)
    assert balances(ledger, A) == (50, 0, 0)
    assert balances(ledger, GRID_COMPANY) == (100, 0, 0)


def test_withdraw__leaves_the_margin(ledger: Ledger) -> None:
    with pytest.raises(InsufficientFundsError, match="margin of 40"):
        ledger.withdraw(A, 61, margin_uyuan=40)
    ledger.withdraw(A, 60, margin_uyuan=40)

    assert balances(ledger, A) == (40, 50, 0)
    assert ledger.token_balance_uyuan == ledger.backing_uyuan() == 90


@pytest.mark.parametrize("amount_uyuan", [0, -1])
def test_deposit_and_withdraw__not_positive__raise(ledger: Ledger, amount_uyuan: int) -> None:
    with pytest.raises(LedgerError, match="cannot deposit"):
        ledger.deposit(A, amount_uyuan)
    with pytest.raises(LedgerError, match="cannot withdraw"):
        ledger.withdraw(A, amount_uyuan)


def test_apply__debit_first__pays_the_credit_of_the_same_call(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(C, 30), pay(A, -70, release=50)])

    assert balances(ledger, A) == (80, 0, 0)
    assert balances(ledger, C) == (30, 0, 0)
    assert balances(ledger, GRID_COMPANY) == (40, 0, 0)
    assert ledger.claims == []


def test_apply__debit_beyond_free__becomes_debt(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(A, -400, release=50)])

    assert balances(ledger, A) == (0, 0, 250)
    assert balances(ledger, GRID_COMPANY) == (150, 0, 0)
    assert ledger.worth_uyuan(A) == -250
    assert ledger.worth_uyuan(GRID_COMPANY) == 400


def test_apply__credit_to_a_debtor__repays_before_it_pays(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(A, -400, release=50)])
    ledger.apply(PERIOD + 1, [pay(A, 260)])

    assert balances(ledger, A) == (10, 0, 0)
    assert balances(ledger, GRID_COMPANY) == (140, 0, 0)


def test_apply__lock_of_another_period__stays(ledger: Ledger) -> None:
    ledger.lock(PERIOD + 1, A, 100)

    ledger.apply(PERIOD, [pay(A, -60, release=50)])

    assert balances(ledger, A) == (0, 100, 10)


def test_apply__grid_company_empty__claims_are_funded_in_order(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(B, 20), pay(C, 30)])
    assert ledger.claims_uyuan(B) == 20
    assert ledger.collect(B) == 0

    ledger.deposit(GRID_COMPANY, 25)
    assert balances(ledger, GRID_COMPANY) == (0, 0, 0)
    assert ledger.collect(C) == 5
    assert ledger.collect(B) == 20
    assert ledger.claims_uyuan(C) == 25

    ledger.apply(PERIOD, [pay(A, -60, release=50)])
    assert ledger.collect(C) == 25
    assert ledger.collect(C) == 0
    assert balances(ledger, C) == (30, 0, 0)
    assert balances(ledger, GRID_COMPANY) == (35, 0, 0)
    assert ledger.backing_uyuan() == ledger.token_balance_uyuan


def test_deposit__repays_debt_and_that_funds_claims(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(A, -160, release=50)])
    ledger.apply(PERIOD, [pay(C, 155)])

    ledger.deposit(A, 12)

    assert balances(ledger, A) == (2, 0, 0)
    assert ledger.collect(C) == 5
    assert balances(ledger, C) == (155, 0, 0)
    assert balances(ledger, GRID_COMPANY) == (5, 0, 0)


def test_apply__lock_released_to_a_debtor__repays_its_debt(ledger: Ledger) -> None:
    ledger.lock(PERIOD + 1, A, 100)
    ledger.apply(PERIOD, [pay(A, -60, release=50)])
    ledger.apply(PERIOD, [pay(B, 50)])

    ledger.apply(PERIOD + 1, [pay(A, 0, release=100, flagged=True)])

    assert balances(ledger, A) == (0, 90, 0)
    assert balances(ledger, GRID_COMPANY) == (10, 0, 0)


def test_collect__by_a_debtor__repays_its_debt(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(B, 40)])
    ledger.apply(PERIOD, [pay(B, -15)])
    ledger.deposit(GRID_COMPANY, 30)

    assert ledger.collect(B) == 30

    # The 15 it owed came back to the grid company and funded the last 10 of its claim.
    assert balances(ledger, B) == (15, 0, 0)
    assert balances(ledger, GRID_COMPANY) == (5, 0, 0)
    assert ledger.collect(B) == 10
    assert balances(ledger, B) == (25, 0, 0)
    assert ledger.backing_uyuan() == ledger.token_balance_uyuan


def test_apply__flagged_credit__is_held_until_a_reading_frees_it(ledger: Ledger) -> None:
    ledger.deposit(GRID_COMPANY, 100)
    ledger.apply(PERIOD, [pay(A, 30, release=50, flagged=True)])
    assert balances(ledger, A) == (100, 80, 0)

    ledger.apply(PERIOD, [pay(A, -10, flagged=True)])
    assert balances(ledger, A) == (100, 70, 0)

    ledger.apply(PERIOD, [pay(A, -90)])
    assert balances(ledger, A) == (80, 0, 0)
    assert ledger.holds == {}


def test_apply__flagged_debit__holds_what_is_left_of_the_lock(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(A, -20, release=50, flagged=True)])

    assert balances(ledger, A) == (100, 30, 0)


def test_apply__flagged_credit_that_became_a_claim__holds_only_what_is_free() -> None:
    ledger = Ledger()

    ledger.apply(PERIOD, [pay(C, 30, flagged=True)])

    assert balances(ledger, C) == (0, 0, 0)
    assert ledger.claims_uyuan(C) == 30


def test_apply__same_version_twice__raises_and_changes_nothing(ledger: Ledger) -> None:
    transfers = [pay(B, 5), pay(A, -20, release=50)]
    ledger.apply(PERIOD, transfers)

    with pytest.raises(LedgerError, match="releases 50 uyuan of node 1, but 0 are locked"):
        ledger.apply(PERIOD, transfers)

    assert balances(ledger, B) == (5, 0, 0)


def test_apply__node_twice_in_a_call__raises(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="occurs twice"):
        ledger.apply(PERIOD, [pay(B, 5), pay(B, 5)])


def test_claims__unfunded__leave_the_grid_company_nothing_free(ledger: Ledger) -> None:
    ledger.apply(PERIOD, [pay(A, -20, release=50)])
    ledger.apply(PERIOD, [pay(B, 15), pay(C, 15)])

    assert balances(ledger, GRID_COMPANY) == (0, 0, 0)
    assert balances(ledger, C) == (5, 0, 0)
    assert ledger.claims_uyuan(C) == 10
    assert ledger.worth_uyuan(GRID_COMPANY) == -10
