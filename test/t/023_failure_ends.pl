# A failure of a whole batch lasts as long as somebody's batch fails, and no
# longer: also where whoever has failed is gone, and there is always more to do.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until);

my $node = worker_node('failure_ends', "wallet_projection.poll_interval = '100ms'");

# of two workers the one has this wallet's partition, and the other has that one's
my @wallets = ('0123456789abcdef', 'plain');
my $failing = 'SELECT count(last_error) FROM projection_workers';

install($node, 'postgres', partitions => 8, batch_size => 20);
query(<<'SQL');
CREATE TABLE refused (wallet text);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM public.refused WHERE wallet = NEW.wallet_id) THEN
    RAISE 'no space for %', NEW.wallet_id USING ERRCODE = '53100';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION refuse();
SQL
query("SELECT wallet_create('$_', 1)") foreach @wallets;
put_wallets($node, 40);
caught_up($node, 'at first');

#
# Two workers fail, one of them gets over it
#
query("INSERT INTO refused VALUES ('$wallets[0]'), ('$wallets[1]')");
query(join ';', map { "SELECT wallet_credit('$_', 1)" } @wallets);
wait_until($failing, 2);
query("DELETE FROM refused WHERE wallet = '$wallets[0]'");
wait_until($failing, 1);
# the status names the other one's error from the next time that it fails
wait_until("SELECT last_error ~ '$wallets[1]' FROM projection_status");
is(query('SELECT state FROM projection_status'), 'failed', 'one of two workers is well: it fails for the other one still');
query('DELETE FROM refused');
wait_until($failing, 0);
is(query('SELECT state, failures, next_try IS NULL FROM projection_status'), 'ready|0|t', 'both are well');
caught_up($node, 'two workers');

#
# Those who have failed are gone; their successors never see the end of it
#
query(<<'SQL');
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION slow();
INSERT INTO refused VALUES ('w1'), ('w2'), ('w3'), ('w4'), ('w5'), ('w6'), ('w7'), ('w8');
SELECT count(wallet_credit('w' || 1 + i % 40, i)) FROM generate_series(1, 6000) i;
SQL
wait_until($failing, 2);
query('BEGIN; DELETE FROM refused; SELECT pg_terminate_backend(pid) FROM projection_workers; COMMIT');
wait_until('SELECT count(*) = 2 AND count(last_error) = 0 AND sum(events) > 0 FROM projection_workers');
is(query('SELECT state FROM projection_status'), 'failed', 'they may not have had the time to fail');
wait_until("SELECT state = 'ready' FROM projection_status");
ok(query('SELECT lag_events FROM projection_status') > 1000, 'it ends, though much is left to do');
query('ALTER TABLE wallet_balances DISABLE TRIGGER slow');
caught_up($node, 'successors');

$node->stop;
done_testing();
