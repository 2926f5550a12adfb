# shellcheck shell=bash disable=SC2154
#
# Events of wallets that the read model knows already, in batches of 10,000.

# run_consume WALLETS PROJECTION CHANNEL
run_consume()
{
	sql "SELECT projection_reset('$2');
		SELECT projection_run('$2', $1)" >/dev/null
	settle
	events_per_second "$events" 1 "CALL projection_consume('$3', finish_when_no_messages => true)"
}

run_sql_loop()
{
	sql "TRUNCATE bench_model;
		INSERT INTO bench_model SELECT bench_id(i), 1000000 FROM generate_series(1, $1) i ORDER BY 1"
	settle
	events_per_second "$events" 1 "CALL bench_catchup($1)"
}

# run_catchup SIDE WALLETS WANTED WANTED_OF_MERGE
run_catchup()
{
	local round

	load "$2" "$events"
	for ((round = 0; round < rounds; round++)); do
		measure "SQL ON CONFLICT, $1" run_sql_loop "$2"
		measure "projection_consume, $1" run_consume "$2" wallet_balance async_projection
		measure "a MERGE, $1" run_consume "$2" bench_wallets bench
		sql "CALL bench_check('bench_model'); CALL bench_check('wallet_balances'); CALL bench_check('bench_wallets')"
	done
	show catchup "SQL ON CONFLICT, $1"
	compare catchup "projection_consume, $1" "SQL ON CONFLICT, $1" "$3"
	compare catchup "a MERGE, $1" "SQL ON CONFLICT, $1" "$4"
	compare catchup "a MERGE, $1" "projection_consume, $1" 0.5
}

run_catchup spread "$wallets" 2.0 1.5
run_catchup hot 100 2.5 1.0
