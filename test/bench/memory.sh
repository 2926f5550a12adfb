# shellcheck shell=bash disable=SC2154
#
# The memory that a backfill of very many wallets takes for itself, under
# several settings.  Once each: unlike a time it does not vary.

# own_memory PID: the kB of a process that are its own.
own_memory()
{
	awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"
}

# backfill_memory SETTING: the MB that a session took at most for a backfill.
backfill_memory()
{
	local session pid before now most=0

	coproc psql { psql -XqAt -v ON_ERROR_STOP=1 -d bench; }
	session=$psql_PID
	echo "SET wallet_projection.batch_memory = '$1'; SELECT pg_backend_pid();" >&"${psql[1]}"
	read -r pid <&"${psql[0]}"
	before=$(own_memory "$pid")
	echo "SELECT 'applied', projection_backfill('wallet_balance');" >&"${psql[1]}"
	# no answer within 50 ms is a status above 128; the end of psql is not
	until read -r -t 0.05 _ <&"${psql[0]}"; do
		[ $? -gt 128 ] || die 'the backfill failed'
		now=$(own_memory "$pid")
		[ "$now" -le "$most" ] || most=$now
	done
	echo '\q' >&"${psql[1]}"
	wait "$session"
	echo $(((most - before) / 1024))
}

load $((10 * events)) 0
for setting in 64 256 1024; do
	sql "SELECT projection_reset('wallet_balance')" >/dev/null
	settle
	taken=$(backfill_memory "${setting}MB")
	sql "CALL bench_check('wallet_balances')"
	# caches and buffers come on top, 32 MB of known places of rows among them
	wanted=$((setting + 64))
	say '%-13s %-32s %8d MB  wanted at most %d: %s\n' memory "batch_memory ${setting}MB" \
		"$taken" "$wanted" "$([ "$taken" -le "$wanted" ] && echo reached || echo MISSED)"
done
