# shellcheck shell=bash disable=SC2154
#
# What parked keys cost those that are not: batches before and after 10,000,
# 100,000, ... up to --parked keys are parked.  And how long it takes to park so many
# that fail in one go: where the fold finds their events, and where a CHECK
# of the read model refuses them.  No retry is due meanwhile.

# Wallets that fail come behind the 10,000 that do not.
first_bad=10001

# with_bad NUMBER: a database with so many wallets more, all known.
with_bad()
{
	new_database
	sql "CALL bench_create(1, 10000 + $1);
		SELECT projection_set('wallet_balance', 'retry_max_delay', '1 day');
		SELECT projection_set('wallet_balance', 'retry_delay', '1 day');
		SELECT projection_set('wallet_balance', 'max_parked', '$(($1 + 10))');
		ALTER TABLE wallet_balances ADD CONSTRAINT funds CHECK (current_balance >= 0);
		$run_batch;
		VACUUM ANALYZE" >/dev/null
	open_session batches
	batches batches 2 "$many_events" "$run_batch" >/dev/null
}

# park SIDE NUMBER AMOUNT: debits that fail; microseconds per key.
park()
{
	local answer us

	sql "CALL bench_event($first_bad, $((first_bad + $2 - 1)), 'WalletWasDebited', '$3'); ANALYZE wallet_stream"
	answer=$(clock=$cpu_clock batches batches 1 '' "$run_batch")
	us=${answer%% *}
	if [ "$us" != over ]; then
		[ "$(sql 'SELECT parked FROM projection_status')" = "$2" ] || die "not $2 keys are parked"
		us=$(awk -v us="$us" -v n="$2" 'BEGIN { printf "%.3f", us / n }')
	fi
	results[$1]+=" $us"
	parked_all=$us
}

good_batches()
{
	measure_cpu "$1: 10,000 events" batches 7 "$many_events" "$run_batch"
	measure_batches "$1: 1 event" batches 300 "$one_event" "$run_batch"
	measure_batches "$1: no event" batches 300 '' "$run_batch"
	measure_batches "$1: status" batches 50 '' 'SELECT * FROM projection_status'
}

numbers=()
for ((n = 10000; n <= parked; n *= 10)); do
	numbers+=("$n")
done
measured=()
for n in "${numbers[@]}"; do
	with_bad "$n"
	good_batches "$n free"
	park "$n found by the fold, a key" "$n" '"bad"'
	if [ "$parked_all" != over ]; then
		measured+=("$n")
		sql 'VACUUM ANALYZE'
		good_batches "$n parked"
		# what goes past a parked key is counted
		sql "CALL bench_event($first_bad, $((first_bad + 9999)))"
		measure_cpu "$n: 10,000 of parked keys" batches 1 '' "$run_batch"
	fi
	close_session batches

	with_bad "$n"
	park "$n refused by a CHECK, a key" "$n" 2000000
	close_session batches
done

for side in '1 event' '1 event, WAL' '10,000 events' '10,000 events, WAL' 'no event' status; do
	unit=us
	[ "${side%WAL}" = "$side" ] || unit=bytes
	for n in "${measured[@]}"; do
		cost parked "$n free: $side" "$unit"
		at_most parked "$n parked: $side" "$unit" "$n free: $side" 1.2
	done
done
for n in "${measured[@]}"; do
	cost parked "$n: 10,000 of parked keys" us
done
for n in "${numbers[@]}"; do
	under parked "$n found by the fold, a key" us 50
	under parked "$n refused by a CHECK, a key" us 100
done
