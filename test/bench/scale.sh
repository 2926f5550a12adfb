# shellcheck shell=bash disable=SC2154
#
# The bench backfill with ten times the events: the rate should stay.

for n in "$events" $((10 * events)); do
	load "$wallets" $((n - wallets))
	for ((round = 0; round < rounds; round++)); do
		measure "SQL GROUP BY, $n" group_by_rate "$n"
		measure "backfill, $n" backfill_rate "$n"
		sql "CALL bench_check('bench_model'); CALL bench_check('wallet_balances')"
	done
	show scale "SQL GROUP BY, $n"
	show scale "backfill, $n"
done
compare scale "backfill, $n" "backfill, $events" 1.0
