# shellcheck shell=bash disable=SC2154
#
# What a batch costs with 16, 256 and 1,024 partitions: of one event, of
# 10,000 of as many wallets, and of none.

# partitioned PARTITIONS: a new database, with 10,000 wallets that the read
# model knows.
partitioned()
{
	new_database
	sql "SELECT projection_delete('wallet_balance');
		SELECT projection_set('wallet_balance', 'partitions', '$1');
		SELECT projection_init('wallet_balance');
		CALL bench_create(1, 10000);
		$run_batch;
		VACUUM ANALYZE" >/dev/null
	[ "$(sql 'SELECT count(*) FROM projection_partitions')" = "$1" ] || die "not $1 partitions"
}

for ((round = 0; round < rounds; round++)); do
	for n in 16 256 1024; do
		partitioned "$n"
		open_session batches
		# the first after a checkpoint writes whole pages
		batches batches 1 "$many_events" "$run_batch" >/dev/null
		measure_cpu "$n: 10,000 events" batches 5 "$many_events" "$run_batch"
		measure_batches "$n: 1 event" batches 300 "$one_event" "$run_batch"
		measure_batches "$n: no event" batches 300 '' "$run_batch"
		close_session batches
		sql "CALL bench_check('wallet_balances')"
	done
done

for side in '10,000 events' '1 event' 'no event'; do
	cost partitions "16: $side" us
	for n in 256 1024; do
		at_most partitions "$n: $side" us "16: $side" 1.2
	done
done
under partitions '16: 1 event, WAL' bytes 1000
cost partitions '256: 1 event, WAL' bytes
under partitions '1024: 1 event, WAL' bytes 1300
for n in 16 256 1024; do
	cost partitions "$n: 10,000 events, WAL" bytes
done
