# shellcheck shell=bash disable=SC2154
#
# Two sessions against one, on the events of the bench catchup, spread.

# run_sessions SESSIONS STATEMENT EVENTS [BEFORE]: the statement BEFORE is run
# beforehand.
run_sessions()
{
	# shellcheck disable=SC2034  # CPU time would not tell
	local clock=$wall_clock

	sql "SELECT projection_reset('wallet_balance'); ${4:-}" >/dev/null
	settle
	events_per_second "$3" "$1" "$2"
	sql "CALL bench_check('wallet_balances')"
}

consume="CALL projection_consume('async_projection', finish_when_no_messages => true)"
create="SELECT projection_run('wallet_balance', $wallets)"

load "$wallets" "$events"
for ((round = 0; round < rounds; round++)); do
	for n in 1 2; do
		measure "consume, $n" run_sessions "$n" "$consume" "$events" "$create"
	done
	measure 'backfill, 1' run_sessions 1 "SELECT projection_backfill('wallet_balance')" $((wallets + events))
	measure 'backfill, 2' run_sessions 2 "SELECT projection_backfill('wallet_balance', 8)" $((wallets + events))
done
for side in consume backfill; do
	show sessions "$side, 1"
	compare sessions "$side, 2" "$side, 1" 1.7
done
