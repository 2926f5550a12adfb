# shellcheck shell=bash
#
# lag: from the commit of an event to the commit of its effect, by background
# workers, while four clients append 2,000 events per second to 1,000 wallets.
# A trigger notes each write of a row; the server keeps the times of commits.
# Then what three idle workers cost.

lag_rate=2000

# Preloaded, as it is for this bench alone.
cat >>"$work/data/postgresql.conf" <<-END
	shared_preload_libraries = 'wallet_projection'
	track_commit_timestamp = on
END
quietly "${as_user[@]}" pg_ctl -D "$work/data" -l "$work/server.log" -w restart

lag_database()
{
	new_database
	sql "SELECT channel_scale('async_projection', $1), projection_start('wallet_balance');
		SELECT count(wallet_create('w' || i, 1000)) FROM generate_series(1, 1000) i;
		SELECT projection_wait('wallet_balance');
		CREATE TRIGGER note AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION bench_note();" >/dev/null
}

# lag_round [PROJECTION]: prints the median and the 99th percentile in ms.
lag_round()
{
	sql 'TRUNCATE bench_effect' >/dev/null
	printf '%s\n' "\\set w random(1, 1000)" "SELECT wallet_credit('w' || :w, 1);" >"$work/script"
	pgbench -n -M prepared -c 4 -j 1 -R "$lag_rate" -T "$seconds" -f "$work/script" bench >"$work/pgbench.log" 2>&1 ||
		die "pgbench: $(cat "$work/pgbench.log")"
	[ "$(sql "SELECT projection_wait('${1:-wallet_balance}', '60 s')")" = t ] || die 'the workers do not catch up'
	sql 'ANALYZE bench_effect; ANALYZE wallet_stream; SELECT * FROM bench_lag()' | tr '|' ' '
}

# lag_verdict WORKERS WHAT LIMIT: the line of the medians of the rounds.
lag_verdict()
{
	local m

	read -ra m <<<"$(median "$2")"
	say '%-13s %-32s %8.2f ms (%.2f-%.2f)  %s workers, wanted under %s: %s\n' lag "$2" "${m[@]}" "$1" "$3" \
		"$(awk -v a="${m[0]}" -v w="$3" 'BEGIN { print (a < w ? "reached" : "MISSED") }')"
}

# Clock ticks that the workers have used.
worker_ticks()
{
	local pid

	for pid in $(sql "SELECT pid FROM projection_workers"); do
		awk '{ print $14 + $15 }' "/proc/$pid/stat"
	done | awk '{ sum += $1 } END { print sum }'
}

lag_idle()
{
	local ticks wal

	sql 'CHECKPOINT' >/dev/null
	sleep 2
	ticks=$(worker_ticks)
	wal=$(sql 'SELECT pg_current_wal_insert_lsn()')
	sleep "$seconds"
	say '%-13s %-32s %8.2f %% of a core, %s bytes of WAL in %s s\n' lag "idle, 3 workers" \
		"$(awk -v a="$ticks" -v b="$(worker_ticks)" -v s="$seconds" -v t="$(getconf CLK_TCK)" \
			'BEGIN { print (b - a) / t / s * 100 }')" \
		"$(sql "SELECT pg_current_wal_insert_lsn() - '$wal'")" "$seconds"
}

# The same with three declared projections; the lag is that of the first.
declared_database()
{
	local i

	new_database
	sql "SELECT projection_stop('wallet_balance'), channel_scale('bench', 3)" >/dev/null
	for i in 1 2; do
		sql "CREATE TABLE bench_wallets_$i (LIKE bench_wallets INCLUDING ALL);
			SELECT projection_create('bench_wallets_$i', replace(bench_definition(), 'INTO bench_wallets', 'INTO bench_wallets_$i'), channel => 'bench')" >/dev/null
	done
	sql "SELECT projection_start(p) FROM unnest('{bench_wallets,bench_wallets_1,bench_wallets_2}'::text[]) p;
		SELECT count(wallet_create('w' || i, 1000)) FROM generate_series(1, 1000) i;
		SELECT projection_wait('bench_wallets');
		CREATE TRIGGER note AFTER UPDATE ON bench_wallets FOR EACH ROW EXECUTE FUNCTION bench_note();" >/dev/null
}

results=()
declared_database
for ((round = 0; round < rounds; round++)); do
	read -r lag_median lag_late <<<"$(lag_round bench_wallets)"
	results[three MERGEs, median]+=" $lag_median"
	results[three MERGEs, 99%]+=" $lag_late"
done
lag_verdict 3 'three MERGEs, median' 5
lag_verdict 3 'three MERGEs, 99%' 25

for workers in 1 3; do
	results=()
	lag_database "$workers"
	for ((round = 0; round < rounds; round++)); do
		read -r lag_median lag_late <<<"$(lag_round)"
		results[median]+=" $lag_median"
		results[99%]+=" $lag_late"
	done
	lag_verdict "$workers" median 5
	lag_verdict "$workers" 99% 25
done
lag_idle

sed -i '/^shared_preload_libraries\|^track_commit_timestamp/d' "$work/data/postgresql.conf"
quietly "${as_user[@]}" pg_ctl -D "$work/data" -l "$work/server.log" -w restart
