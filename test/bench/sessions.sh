# shellcheck shell=bash disable=SC2154
#
# Two sessions against one, on the events of the bench catchup, spread.

# run_sessions SESSIONS FIRST STATEMENT: FIRST events are applied beforehand.
run_sessions()
{
	sql "SELECT projection_reset('wallet_balance');
		SELECT projection_run('wallet_balance', $2)" >/dev/null
	settle
	events_per_second $((wallets + events - $2)) "$1" "$3"
	sql "CALL bench_check('wallet_balances')"
}

consume="CALL projection_consume('async_projection', finish_when_no_messages => true)"

load "$wallets" "$events"
for ((round = 0; round < rounds; round++)); do
	measure 'consume, 1 session' run_sessions 1 "$wallets" "$consume"
	measure 'consume, 2 sessions' run_sessions 2 "$wallets" "$consume"
	measure 'backfill, 1 session' run_sessions 1 0 "SELECT projection_backfill('wallet_balance')"
	measure 'backfill, 2 sessions' run_sessions 2 0 "SELECT projection_backfill('wallet_balance', 8)"
done
for side in consume backfill; do
	show sessions "$side, 1 session"
	compare sessions "$side, 2 sessions" "$side, 1 session" 1.7
done
