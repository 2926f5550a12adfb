--
-- Whose fault is each SQLSTATE that the server knows?  A trigger raises it for
-- one wallet, then for all.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT projection_set('wallet_balance', 'max_parked', '10');
SELECT projection_init('wallet_balance');
SELECT wallet_create('a', 1), wallet_create('b', 1), wallet_create('c', 1);
SELECT projection_run('wallet_balance');
CREATE FUNCTION raising() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE 'refused' USING ERRCODE = pg_catalog.current_setting('fault.code'); END $$;
CREATE TRIGGER raising BEFORE UPDATE ON wallet_balances FOR EACH ROW
  WHEN (NEW.wallet_id <= current_setting('fault.last')) EXECUTE FUNCTION regress_wp.raising();

-- What becomes of a batch of a and b if the trigger refuses them up to this one.
CREATE FUNCTION outcome(code text, last text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('fault.code', code, true), set_config('fault.last', last, true);
    PERFORM wallet_credit('a', 1), wallet_credit('b', 1);
    PERFORM projection_run('wallet_balance');
    SELECT string_agg(partition_key || CASE WHEN sqlstate <> code THEN ': ' || sqlstate ELSE '' END, ' ' ORDER BY partition_key)
      INTO result FROM projection_dead_letters;
    RAISE 'parks %', result USING ERRCODE = 'YYYYY';
EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
    RETURN CASE SQLSTATE WHEN 'YYYYY' THEN SQLERRM WHEN code THEN 'fails' ELSE SQLSTATE || ' ' || SQLERRM END;
END $$;

\set ECHO none
CREATE TABLE codes (list text);
INSERT INTO codes VALUES
('01000 01003 01004 01006 01007 01008 0100C 01P01'),
('02000 02001'),
('03000'),
('08000 08001 08003 08004 08006 08007 08P01'),
('09000'),
('0A000'),
('0B000'),
('0F000 0F001'),
('0L000 0LP01'),
('0P000'),
('0Z000 0Z002'),
('20000'),
('21000'),
('22000 22001 22002 22003 22004 22005 22007 22008 22009 2200B 2200C 2200D 2200F 2200G 2200H 2200L 2200M 2200N 2200S 2200T 22010 22011 22012 22013 22014 22015 22016 22018 22019 2201B 2201E 2201F 2201G 2201W 2201X 22021 22022 22023 22024 22025 22026 22027 2202E 2202G 2202H 22030 22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B 2203C 2203D 2203E 2203F 2203G 22P01 22P02 22P03 22P04 22P05 22P06 22P07'),
('23000 23001 23502 23503 23505 23514 23P01'),
('24000'),
('25000 25001 25002 25003 25004 25005 25006 25007 25008 25P01 25P02 25P03'),
('26000'),
('27000'),
('28000 28P01'),
('2B000 2BP01'),
('2D000'),
('2F000 2F002 2F003 2F004 2F005'),
('34000'),
('38000 38001 38002 38003 38004'),
('39000 39001 39004 39P01 39P02 39P03'),
('3B000 3B001'),
('3D000'),
('3F000'),
('40000 40001 40002 40003 40P01'),
('42000 42501 42601 42602 42611 42622 42701 42702 42703 42704 42710 42712 42723 42725 42803 42804 42809 42830 42846 42883 428C9 42939 42P01 42P02 42P03 42P04 42P05 42P06 42P07 42P08 42P09 42P10 42P11 42P12 42P13 42P14 42P15 42P16 42P17 42P18 42P19 42P20 42P21 42P22'),
('44000'),
('53000 53100 53200 53300 53400'),
('54000 54001 54011 54023'),
('55000 55006 55P02 55P03 55P04'),
('57000 57014 57P01 57P02 57P03 57P04 57P05'),
('58000 58030 58P01 58P02'),
('72000'),
('F0000 F0001'),
('HV000 HV001 HV002 HV004 HV005 HV006 HV007 HV008 HV009 HV00A HV00B HV00C HV00D HV00J HV00K HV00L HV00M HV00N HV00P HV00Q HV00R HV010 HV014 HV021 HV024 HV090 HV091'),
('P0000 P0001 P0002 P0003 P0004'),
('XX000 XX001 XX002');
-- of a trigger's own invention
INSERT INTO codes VALUES ('WP001 WP005 AB123');
\set ECHO all
-- by class, whole where all of it is alike
WITH tried AS (
    SELECT code, left(code, 2) AS class,
           format('for one wallet: %s; for all: %s', outcome(code, 'a'), outcome(code, 'z')) AS outcome
      FROM codes, regexp_split_to_table(list, ' ') code),
classes AS (
    SELECT class, outcome, count(DISTINCT code) = sum(count(DISTINCT code)) OVER (PARTITION BY class) AS whole, string_agg(code, ' ' ORDER BY code) AS codes
      FROM tried GROUP BY class, outcome)
SELECT format(E'%s\n    %s', outcome, string_agg(CASE WHEN whole THEN class ELSE codes END, ' ' ORDER BY class))
  FROM classes GROUP BY outcome ORDER BY outcome;
DROP TRIGGER raising ON wallet_balances;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- a publication that wants what the read model does not have is no wallet's fault
SET client_min_messages = error;
CREATE PUBLICATION regress_wp_fault FOR TABLE wallet_balances;
SET client_min_messages = warning;
ALTER TABLE wallet_balances REPLICA IDENTITY NOTHING;
SELECT wallet_credit('a', 1);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT wallet_credit('b', 1), wallet_create('d', 1);
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT state, parked FROM projection_status;
-- nor is it where a wallet's key is parked already
SELECT append_event('c', 'WalletWasCredited', '{"amount": "bad"}');
ALTER TABLE wallet_balances REPLICA IDENTITY DEFAULT;
SELECT projection_run('wallet_balance');
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE payload ->> 'amount' = 'bad';
ALTER TABLE wallet_balances REPLICA IDENTITY NOTHING;
UPDATE wallet_projection.parked SET next_retry_at = now();
SELECT projection_run('wallet_balance');
SELECT partition_key, attempts, sqlstate FROM projection_dead_letters;
DROP PUBLICATION regress_wp_fault;
SELECT dead_letter_replay_all('wallet_balance');
SELECT * FROM check_read_model();

DROP SCHEMA regress_wp CASCADE;
