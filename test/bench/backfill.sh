# shellcheck shell=bash disable=SC2154
#
# A whole stream into an empty read model, in one go.

load "$wallets" $((events - wallets))
for ((round = 0; round < rounds; round++)); do
	measure 'SQL GROUP BY' group_by_rate "$events"
	measure projection_backfill backfill_rate "$events"
	sql "CALL bench_check('bench_model'); CALL bench_check('wallet_balances')"
done
show backfill 'SQL GROUP BY'
compare backfill projection_backfill 'SQL GROUP BY' 3.0
