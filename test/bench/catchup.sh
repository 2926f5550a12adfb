# shellcheck shell=bash disable=SC2154
#
# Events of wallets that the read model knows already, in batches of 10,000.

run_consume()
{
	sql "SELECT projection_reset('wallet_balance');
		SELECT projection_run('wallet_balance', $1)" >/dev/null
	settle
	events_per_second "$events" 1 "CALL projection_consume('async_projection',
		finish_when_no_messages => true)"
}

run_sql_loop()
{
	sql "TRUNCATE bench_model;
		INSERT INTO bench_model SELECT bench_id(i), 1000000 FROM generate_series(1, $1) i ORDER BY 1"
	settle
	events_per_second "$events" 1 "CALL bench_catchup($1)"
}

# run_catchup SIDE WALLETS WANTED
run_catchup()
{
	local round

	load "$2" "$events"
	for ((round = 0; round < rounds; round++)); do
		measure "SQL ON CONFLICT, $1" run_sql_loop "$2"
		measure "projection_consume, $1" run_consume "$2"
		sql "CALL bench_check('bench_model'); CALL bench_check('wallet_balances')"
	done
	show catchup "SQL ON CONFLICT, $1"
	compare catchup "projection_consume, $1" "SQL ON CONFLICT, $1" "$3"
}

run_catchup spread "$wallets" 2.0
run_catchup hot 100 2.5
