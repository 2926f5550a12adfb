# shellcheck shell=bash disable=SC2154
#
# One batch of 10,000 events of 10,000 wallets, clean, and with one bad event
# that the fold finds, or that the read model refuses: at once (a CHECK), or only
# when all are written (an AFTER trigger; clean, with a trigger that lets it pass).

poison_batch=10000

new_database
sql "CALL bench_create(1, $poison_batch);
	CALL bench_move(1, $poison_batch, $poison_batch);
	SELECT projection_set('wallet_balance', 'batch_size', '$poison_batch');
	VACUUM ANALYZE wallet_stream;" >/dev/null
sql "CREATE FUNCTION let_pass() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RETURN NULL; END \$\$" >/dev/null
victim=$(sql "SELECT no FROM wallet_stream WHERE no > $poison_batch * 3 / 2 ORDER BY no LIMIT 1")
wallet=$(sql "SELECT aggregate_id FROM wallet_stream WHERE no = $victim")
payload=$(sql "SELECT payload FROM wallet_stream WHERE no = $victim")

# poisoned BEFORE AFTER PARKED: the rate of the batch, with these statements
# around it, and so many keys parked in the end.
poisoned()
{
	sql "SELECT projection_reset('wallet_balance'); SELECT projection_run('wallet_balance', $poison_batch); $1" >/dev/null
	settle
	events_per_second "$poison_batch" 1 "CALL projection_consume('async_projection', finish_when_no_messages => true)"
	[ "$(sql 'SELECT count(*) FROM projection_dead_letters')" = "$3" ] || die "not $3 keys are parked"
	sql "$2"
}

for ((round = 0; round < rounds; round++)); do
	measure 'clean' poisoned '' '' 0
	measure 'found by the fold' poisoned \
		"UPDATE wallet_stream SET payload = jsonb_set(payload, '{amount}', '\"bad\"') WHERE no = $victim" \
		"UPDATE wallet_stream SET payload = '$payload' WHERE no = $victim" 1
	measure 'refused by a CHECK' poisoned \
		"ALTER TABLE wallet_balances ADD CONSTRAINT poison CHECK (wallet_id <> '$wallet' OR transaction_count = 0)" \
		'ALTER TABLE wallet_balances DROP CONSTRAINT poison' 1
	measure 'clean, AFTER trigger' poisoned \
		'CREATE TRIGGER poison AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION let_pass()' \
		'DROP TRIGGER poison ON wallet_balances' 0
	measure 'refused by an AFTER trigger' poisoned \
		"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF NEW.wallet_id = '$wallet' AND NEW.transaction_count > 0 THEN RAISE 'no'; END IF; RETURN NULL; END \$\$;
		 CREATE TRIGGER poison AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION refuse()" \
		'DROP FUNCTION refuse CASCADE' 1
done
show poison clean
show poison 'clean, AFTER trigger'
compare poison 'found by the fold' clean 0.333
compare poison 'refused by a CHECK' clean 0.333
compare poison 'refused by an AFTER trigger' 'clean, AFTER trigger' 0.333
