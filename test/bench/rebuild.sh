# shellcheck shell=bash disable=SC2154
#
# projection_rebuild where nothing is to be changed, beside projection_verify; the
# WAL that it writes; then all rows to be changed, by one session and by two.

# Preloaded, as sessions share a rebuild in shared memory; no worker is to run.
cat >>"$work/data/postgresql.conf" <<-END
	shared_preload_libraries = 'wallet_projection'
	wallet_projection.autostart = off
END
quietly "${as_user[@]}" pg_ctl -D "$work/data" -l "$work/server.log" -w restart

# verify_rate EVENTS: events per second.
verify_rate()
{
	settle
	events_per_second "$1" 1 "SELECT count(*) FROM projection_verify('wallet_balance')"
}

# rebuild_rate EVENTS SESSIONS: the same of a rebuild.
rebuild_rate()
{
	settle
	events_per_second "$1" "$2" "CALL projection_rebuild('wallet_balance')"
}

# spoiled_rate EVENTS SESSIONS: where each row is another one than the events say.
spoiled_rate()
{
	sql 'UPDATE wallet_balances SET current_balance = current_balance + 1' >/dev/null
	sql 'VACUUM wallet_balances' >/dev/null
	rebuild_rate "$@"
}

load "$wallets" $((events - wallets))
backfill_rate "$events" >/dev/null
for ((round = 0; round < rounds; round++)); do
	measure projection_verify verify_rate "$events"
	before=$(sql 'SELECT pg_current_wal_insert_lsn()')
	measure 'nothing to change' rebuild_rate "$events" 1
	wal=$(sql "SELECT pg_current_wal_insert_lsn() - '$before'")
	measure 'one session' spoiled_rate "$events" 1
	measure 'two sessions' spoiled_rate "$events" 2
done
[ "$(sql "SELECT count(*) FROM projection_verify('wallet_balance')")" = 0 ] ||
	die 'rows are not what the events say'
compare rebuild 'nothing to change' projection_verify 0.83
compare rebuild 'two sessions' 'one session' 1.5
say '%-13s %-32s %8d bytes of WAL, with the checkpoint before\n' rebuild 'nothing to change' "$wal"

sed -i '/^shared_preload_libraries\|^wallet_projection.autostart/d' "$work/data/postgresql.conf"
quietly "${as_user[@]}" pg_ctl -D "$work/data" -l "$work/server.log" -w restart
