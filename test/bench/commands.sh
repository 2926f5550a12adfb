# shellcheck shell=bash disable=SC2154
#
# One debit at a time, two clients: a bare INSERT of its event, the command,
# and the command as a PL/pgSQL function.  Each side has wallets of its own,
# every third, with about ten events each.

# wallet_of SIDE: sets :id to the first 8 digits of a random wallet's id.
wallet_of()
{
	echo "\\set i 3 * random(0, $((wallets / 3)) - 1) + $1"
	echo '\set id 10000000 + :i * 48271 % 89999999'
}

load "$wallets" $((10 * wallets))
# shellcheck disable=SC2034  # not this stream again: it changes
stream=

# Version numbers of the bare INSERT need only be new ones.
insert="$(wallet_of 1)
\\set v :v + 2
\\set version :v + :client_id
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id,
                           aggregate_version, payload, metadata)
VALUES (gen_random_uuid(), 'WalletWasDebited', 'Wallet', :id || '-0000-4000-8000-000000000000', :version,
        '{\"amount\": 1, \"walletId\": \"12345678-0000-4000-8000-000000000000\"}', '{\"_balance\": {\"walletId\": \"12345678-0000-4000-8000-000000000000\", \"version\": 1, \"balance\": 999999.9900}}');"
debit="$(wallet_of 2)
SELECT wallet_debit(:id || '-0000-4000-8000-000000000000', 1);"
plpgsql="$(wallet_of 3)
SELECT bench_debit(:id || '-0000-4000-8000-000000000000', 1);"

settle
for ((round = 0; round < rounds; round++)); do
	measure 'bare INSERT' pgbench_rate 2 "$insert" -D "v=$(((round + 1) * 100000000))"
	measure wallet_debit pgbench_rate 2 "$debit"
	measure 'PL/pgSQL function' pgbench_rate 2 "$plpgsql"
done

# not one update lost: the newest events hold the balances that all make
sql "SELECT projection_backfill('wallet_balance');
	CALL bench_check('wallet_balances');
	CALL bench_check_snapshots(2, $wallets, 3);
	CALL bench_check_snapshots(3, $wallets, 3);" >/dev/null
show commands 'bare INSERT'
show commands 'PL/pgSQL function'
compare commands wallet_debit 'bare INSERT' 0.9
compare commands wallet_debit 'PL/pgSQL function' 1.3
