# shellcheck shell=bash disable=SC2154
#
# projection_verify beside plain SQL that computes the rows anew and joins them
# with the table; then the memory that it takes where there are very many keys.

# verify_rate EVENTS PROJECTION: events per second; there is no difference.
verify_rate()
{
	settle
	[ "$(sql "SELECT count(*) FROM projection_verify('$2')")" = 0 ] ||
		die "projection_verify finds a difference in $2"
	events_per_second "$1" 1 "SELECT count(*) FROM projection_verify('$2')"
}

# full_join_rate EVENTS: the same of the SQL to beat.
full_join_rate()
{
	settle
	events_per_second "$1" 1 "
		SELECT count(*)
		  FROM wallet_balances b
		  FULL JOIN bench_balances s USING (wallet_id)
		 WHERE (b.current_balance, b.total_debits, b.total_credits, b.transaction_count)
		       IS DISTINCT FROM (s.current_balance, s.total_debits, s.total_credits, s.transaction_count)"
}

load "$wallets" $((events - wallets))
backfill_rate "$events" >/dev/null
backfill_rate "$events" bench_wallets >/dev/null
for ((round = 0; round < rounds; round++)); do
	measure 'SQL FULL JOIN' full_join_rate "$events"
	measure projection_verify verify_rate "$events" wallet_balance
	measure 'verify of a MERGE' verify_rate "$events" bench_wallets
done
show verify 'SQL FULL JOIN'
compare verify projection_verify 'SQL FULL JOIN' 3.0
compare verify 'verify of a MERGE' 'SQL FULL JOIN' 1.5

# What the session says that it has used, and in how many passes.
load $((5 * events)) 0
for projection in wallet_balance bench_wallets; do
	backfill_rate $((5 * events)) "$projection" >/dev/null
	said=$(PGOPTIONS='-c client_min_messages=debug1' psql -XqAt -d bench \
		-c "SET wallet_projection.batch_memory = '64MB'" \
		-c "SELECT count(*) FROM projection_verify('$projection')" 2>&1)
	[[ $said =~ used\ ([0-9]+)\ kB\ of\ memory\ in\ ([0-9]+)\ passes ]] ||
		die "projection_verify does not say what memory it has used: $said"
	taken=$((BASH_REMATCH[1] / 1024))
	say '%-13s %-32s %8d MB  wanted at most 64: %s, in %d passes\n' verify "$((5 * events)) keys of $projection" \
		"$taken" "$([ "$taken" -le 64 ] && echo reached || echo MISSED)" "${BASH_REMATCH[2]}"
done
