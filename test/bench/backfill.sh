# shellcheck shell=bash disable=SC2154
#
# A whole stream into an empty read model, in one go.

load "$wallets" $((events - wallets))
for ((round = 0; round < rounds; round++)); do
	measure 'SQL GROUP BY' group_by_rate "$events"
	measure projection_backfill backfill_rate "$events"
	measure 'backfill of a MERGE' backfill_rate "$events" bench_wallets
	sql "CALL bench_check('bench_model'); CALL bench_check('wallet_balances'); CALL bench_check('bench_wallets')"
done
show backfill 'SQL GROUP BY'
compare backfill projection_backfill 'SQL GROUP BY' 3.0
compare backfill 'backfill of a MERGE' 'SQL GROUP BY' 1.7
compare backfill 'backfill of a MERGE' projection_backfill 0.5
