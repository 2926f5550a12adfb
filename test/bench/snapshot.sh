# shellcheck shell=bash disable=SC2154
#
# The same command on a wallet with as many events as the stream has by
# default, and on wallets with a hundred, one client.

small=$((events / 100))

new_database
sql "CALL bench_create(1, $small + 1);
	CALL bench_move(1, $small, $((events - small)));
	CALL bench_move($small + 1, $small + 1, $events - 1);
	VACUUM ANALYZE wallet_stream;" >/dev/null

# debit FIRST LAST: wallet_debit on one of those wallets.
debit()
{
	pgbench_rate 1 "\\set i random($1, $2)
\\set id 10000000 + :i * 48271 % 89999999
SELECT wallet_debit(:id || '-0000-4000-8000-000000000000', 0.01);"
}

settle
for ((round = 0; round < rounds; round++)); do
	measure '100 events' debit 1 "$small"
	measure "$events events" debit $((small + 1)) $((small + 1))
done
sql "SELECT projection_backfill('wallet_balance');
	CALL bench_check('wallet_balances');
	CALL bench_check_snapshots(1, $small + 1);" >/dev/null
show snapshot '100 events'
compare snapshot "$events events" '100 events' 0.95
