# shellcheck shell=bash disable=SC2154
#
# A session that holds a snapshot, so that no old row version can be removed,
# while --batches batches of one event are applied: what a batch, a command,
# projection_wait and the status take before the snapshot, and behind it after
# none, 1,000, 10,000, ... batches.  Once with events spread over 10,000
# wallets, and once with all of them on one.

# what_it_takes SIDE EVENT: measures all of it.
what_it_takes()
{
	local side=$1

	measure_batches "$side: batch" batches 100 "$2" "$run_batch"
	measure_batches "$side: command" batches 100 '' "SELECT wallet_credit('command', 1)"
	ask batches "$(limited "$run_batch")" >/dev/null
	measure_batches "$side: wait" batches 100 '' "SELECT projection_wait('wallet_balance')"
	measure_batches "$side: status" batches 50 '' 'SELECT * FROM projection_status'
}

# held WALLETS EVENT: a database, and in it all of it.
held()
{
	local answer n before=0

	new_database
	sql "CALL bench_create(1, 10000);
		SELECT wallet_create('command', 0);
		$run_batch;
		VACUUM ANALYZE" >/dev/null
	open_session batches
	batches batches 2 "$many_events" "$run_batch" >/dev/null
	measure_cpu "$1, no snapshot: 10,000 events" batches 3 "$many_events" "$run_batch"
	what_it_takes "$1, no snapshot" "$2"
	open_session holder
	ask holder 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM wallet_balances' >/dev/null
	what_it_takes "$1, 0" "$2"
	points=(0)
	for ((n = 1000; n <= batches; n *= 10)); do
		answer=$(ask batches "$(limited "CALL bench_batches(\$\$$2\$\$, \$\$$run_batch\$\$, $((n - before)), 1000000, false)")")
		if [ "$answer" = over ]; then
			say '%-13s %-32s %11s s: MISSED\n' snapshot_held "$1, $n: to get there" "over $limit"
			break
		fi
		before=$n
		what_it_takes "$1, $n" "$2"
		points+=("$n")
	done
	measure_cpu "$1, at the end: 10,000 events" batches 3 "$many_events" "$run_batch"
	ask holder COMMIT >/dev/null
	close_session holder
	ask batches "$run_batch" >/dev/null
	close_session batches
	sql "CALL bench_check('wallet_balances')"
}

# held_lines WALLETS: as many as there are points.
held_lines()
{
	local what n unit

	for what in batch 'batch, WAL' command wait status; do
		unit=us
		[ "$what" != 'batch, WAL' ] || unit=bytes
		cost snapshot_held "$1, no snapshot: $what" "$unit"
		cost snapshot_held "$1, 0: $what" "$unit"
		for n in "${points[@]:1}"; do
			at_most snapshot_held "$1, $n: $what" "$unit" "$1, 0: $what" 1.5
		done
	done
	# a table that grows is what a held snapshot does to any of them
	for what in '10,000 events' '10,000 events, WAL'; do
		unit=us
		[ "$what" = '10,000 events' ] || unit=bytes
		cost snapshot_held "$1, no snapshot: $what" "$unit"
		cost snapshot_held "$1, at the end: $what" "$unit"
	done
}

held spread "$one_event"
held_lines spread
held hot 'CALL bench_event(1, 1)'
held_lines hot
