# shellcheck shell=bash disable=SC2154
#
# What background workers take that follow one event at a time: four clients
# run wallet_credit on 1,000 wallets, 1,000 times a second, 2,000 times a
# second, and as fast as they can.  CPU time of all workers by event; lag; and,
# flat out, the rate at which events are applied, against a row trigger in
# PL/pgSQL that does the same to a table in the transaction of the command.

# Preloaded, as it is for the benches of workers alone.
cat >>"$work/data/postgresql.conf" <<-END
	shared_preload_libraries = 'wallet_projection'
	track_commit_timestamp = on
END
quietly "${as_user[@]}" pg_ctl -D "$work/data" -l "$work/server.log" -w restart

# worker_times: a line per worker, its process and its CPU time in ns.
worker_times()
{
	local pid

	for pid in $(sql 'SELECT pid FROM projection_workers ORDER BY pid'); do
		echo "$pid $(cut -d' ' -f1 "/proc/$pid/schedstat")"
	done
}

await()
{
	[ "$(sql "SELECT projection_wait('wallet_balance', '60 s')")" = t ] || die 'the workers do not catch up'
}

# credits SECONDS [OPTION...]: has four clients append; prints how many events
# there were and per second.
credits()
{
	printf '%s\n' '\set w random(1, 1000)' "SELECT wallet_credit('w' || :w, 1);" >"$work/script"
	pgbench -n -M prepared -c 4 -j 1 -T "$1" "${@:2}" -f "$work/script" bench >"$work/pgbench.log" 2>&1 ||
		die "pgbench: $(cat "$work/pgbench.log")"
	awk '/^number of transactions actually processed/ { n = $6 } /^tps/ { print n, $3 }' "$work/pgbench.log"
}

# followed SIDE SECONDS [OPTION...]: the same with workers; its results are
# their CPU time by event, and events per second, until all are applied.
followed()
{
	local answer count rate began before after

	before=$(worker_times)
	answer=$(credits "${@:2}")
	read -r count rate <<<"$answer"
	began=$(date +%s.%N)
	await
	rate=$(awk -v n="$count" -v r="$rate" -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { print n / (n / r + b - a) }')
	# a process that sleeps has its whole time written down
	sleep 0.1
	after=$(worker_times)
	[ "$(cut -d' ' -f1 <<<"$before")" = "$(cut -d' ' -f1 <<<"$after")" ] || die 'workers have come or gone'
	results[$1: CPU by event]+=" $(awk -v n="$count" '{ sum += NR == FNR ? -$2 : $2 } END { print sum / n / 1000 }' \
		<(echo "$before") <(echo "$after"))"
	results[$1]+=" $rate"
}

# not_followed SIDE: the same without workers.
not_followed()
{
	local answer

	answer=$(credits "$tail_flat")
	results[$1]+=" ${answer#* }"
}

# lagging RATE: the lag at that rate, with a trigger that notes the writes.
lagging()
{
	local answer

	sql 'TRUNCATE bench_effect;
		CREATE TRIGGER note AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION bench_note()'
	credits "$seconds" -R "$1" >/dev/null
	await
	sql 'DROP TRIGGER note ON wallet_balances; ANALYZE bench_effect; ANALYZE wallet_stream'
	answer=$(sql 'SELECT * FROM bench_lag()')
	results[$1/s: lag, median]+=" ${answer%|*}"
	results[$1/s: lag, 99%]+=" ${answer#*|}"
}

tail_flat=$(((seconds + 4) / 5))

new_database
sql "SELECT projection_start('wallet_balance');
	SELECT count(wallet_create('w' || i, 1000)) FROM generate_series(1, 1000) i;
	SELECT projection_wait('wallet_balance', '60 s')" >/dev/null
sql 'VACUUM ANALYZE'
# warm: workers and what they keep
credits 1 >/dev/null
await

for rate in 1000 2000; do
	followed "$rate/s" "$seconds" -R "$rate"
	lagging "$rate"
done
for ((round = 0; round < rounds; round++)); do
	settle
	followed 'workers' "$tail_flat"
	sql "SELECT projection_stop('wallet_balance')" >/dev/null
	settle
	not_followed 'appends alone'
	sql "TRUNCATE bench_model;
		INSERT INTO bench_model TABLE bench_balances;
		CREATE TRIGGER upsert AFTER INSERT ON wallet_stream FOR EACH ROW EXECUTE FUNCTION bench_upsert()"
	settle
	not_followed 'row trigger'
	sql "DROP TRIGGER upsert ON wallet_stream;
		CALL bench_check('bench_model');
		SELECT projection_start('wallet_balance')" >/dev/null
	await
done
sql "CALL bench_check('wallet_balances')"

under tail '1000/s: CPU by event' us 80
cost tail '2000/s: CPU by event' us
under tail 'workers: CPU by event' us 25
cost tail '1000/s: lag, median' ms
cost tail '1000/s: lag, 99%' ms
under tail '2000/s: lag, median' ms 1
under tail '2000/s: lag, 99%' ms 5
show tail 'appends alone'
show tail 'row trigger'
compare tail workers 'row trigger' 1.3

sed -i '/^shared_preload_libraries\|^track_commit_timestamp/d' "$work/data/postgresql.conf"
quietly "${as_user[@]}" pg_ctl -D "$work/data" -l "$work/server.log" -w restart
