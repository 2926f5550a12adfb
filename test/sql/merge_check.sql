--
-- A definition's expressions depend on the event and the row alone.  What
-- PostgreSQL does not say well gets a hint.  What is remembered of a definition.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set SHOW_CONTEXT never
\pset tuples_only on
\pset format unaligned
\set ECHO all
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN amount AS numeric CHECK (VALUE >= 0);
CREATE DOMAIN fresh AS timestamptz CHECK (VALUE <= now());
CREATE TYPE money_at AS (amount numeric, at fresh);
CREATE FUNCTION pure(numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION asks(numeric) RETURNS numeric STABLE LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION moves(numeric) RETURNS numeric LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION near(numeric, numeric) RETURNS boolean LANGUAGE sql AS 'SELECT abs($1 - $2) < 1';
CREATE OPERATOR ~~~ (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = near);
CREATE SEQUENCE counter;
CREATE TABLE order_events (
    no          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    uuid NOT NULL,
    event_type  text NOT NULL,
    amount      numeric,
    payload     jsonb,
    occurred_at timestamptz,
    local_at    timestamp,
    item        regclass
);
CREATE TABLE orders_view (
    order_id uuid PRIMARY KEY,
    status   text NOT NULL DEFAULT 'new',
    total    numeric NOT NULL DEFAULT 0,
    n        integer DEFAULT 0,
    paid     boolean,
    paid_at  timestamptz,
    day      date,
    feeling  mood,
    owed     amount,
    fresh_at fresh,
    made     timestamptz DEFAULT now(),
    number   bigint GENERATED ALWAYS AS IDENTITY
);
CREATE TABLE days (day date PRIMARY KEY, n integer);
CREATE VIEW orders_seen AS SELECT * FROM orders_view;
CREATE SCHEMA regress_wp_away;
CREATE TABLE regress_wp_away.away (order_id uuid PRIMARY KEY);

-- Is this value allowed, for a column of orders_view?
CREATE FUNCTION value(target text, expression text) RETURNS text LANGUAGE sql AS $$
    SELECT wallet_projection.definition_describe(
        format('MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN UPDATE SET %s = %s', target, expression))
        -> 'clauses' -> 0 ->> 'action'
$$;
-- And this key of days?
CREATE FUNCTION day(expression text) RETURNS text LANGUAGE sql AS $$
    SELECT wallet_projection.definition_describe(
        format('MERGE INTO days d USING order_events e ON d.day = %s WHEN NOT MATCHED THEN INSERT (day) VALUES (%s)', expression, expression))
        -> 'clauses' -> 0 ->> 'action'
$$;

-- allowed: immutable, or by settings that are pinned
SELECT value('total', 'pure(e.amount)');
SELECT value('total', 'o.total + (e.payload->>''price'')::numeric');
SELECT value('day', 'e.occurred_at::date');
SELECT value('paid_at', '(e.payload->>''at'')::timestamptz');
SELECT value('paid_at', 'date_trunc(''day'', e.occurred_at) + interval ''1 month''');
SELECT value('status', 'to_char(e.occurred_at, ''YYYY-MM'') || e.occurred_at');
SELECT value('status', 'format(''%s %s'', e.amount, e.occurred_at)');
SELECT value('status', 'jsonb_build_object(''at'', e.occurred_at)::text');
SELECT value('status', 'to_jsonb(o)::text');
SELECT value('feeling', '(e.payload->>''mood'')::mood');
SELECT value('owed', 'e.amount');
SELECT value('paid', 'e.local_at > e.occurred_at');
SELECT value('status', 'encode(sha256(convert_to(e.event_type, ''UTF8'')), ''hex'')');
SELECT value('status', 'to_tsvector(''english'', e.event_type)::text');
SELECT value('total', 'GREATEST(o.total, e.amount)');
SELECT value('day', '''2026-01-01''::date');
SELECT day('(e.payload->>''day'')::date');
SELECT day('e.occurred_at::date');
SELECT day('(e.occurred_at AT TIME ZONE ''Europe/Berlin'')::date');
-- defaults that an INSERT does not list are not looked at
SELECT wallet_projection.definition_describe('MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id) VALUES (e.order_id)') -> 'clauses' -> 0 ->> 'action';

-- refused: the clock
SELECT value('paid_at', 'now()');
SELECT value('paid_at', 'CURRENT_TIMESTAMP');
SELECT value('day', 'CURRENT_DATE');
SELECT value('paid_at', 'clock_timestamp()');
SELECT value('status', 'age(e.occurred_at)::text');
SELECT value('status', 'timeofday()');
SELECT value('paid_at', '''now''');
SELECT value('day', 'date ''today'' + 1');
SELECT value('paid_at', '''yesterday''::text::timestamptz');
SELECT value('status', '(e.payload->>''t'')::timetz::text');
SELECT day('CURRENT_DATE');
SELECT day('(e.occurred_at + (now() - e.occurred_at))::date');

-- refused: the session, the transaction, the catalogs, chance
SELECT value('status', 'CURRENT_USER');
SELECT value('status', 'session_user');
SELECT value('status', 'current_setting(''TimeZone'')');
SELECT value('status', 'pg_backend_pid()::text');
SELECT value('status', 'pg_current_xact_id()::text');
SELECT value('status', 'inet_client_addr()::text');
SELECT value('total', 'random()');
SELECT value('status', 'gen_random_uuid()::text');
SELECT value('n', 'nextval(''counter'')');
SELECT value('n', 'to_regclass(e.event_type)::oid::integer');
SELECT value('status', 'to_jsonb(e)::text');
SELECT value('status', 'e.item::text');
SELECT value('status', '''orders_view''::regclass::text');
SELECT value('status', 'concat(e.event_type, e.item)');
SELECT value('status', 'e.event_type || e.item');
SELECT value('status', 'jsonb_build_object(''item'', e.item)::text');
SELECT value('status', 'to_jsonb(ARRAY[e.item])::text');
SELECT value('status', 'xmlelement(name item, e.item)::text');
SELECT value('status', 'format(''%s'', ROW(1, e.item))');
SELECT value('status', 'pg_get_viewdef(''orders_seen'')');
SELECT value('paid', 'has_table_privilege(e.event_type, ''SELECT'')');
SELECT value('feeling', 'enum_last(o.feeling)');

-- refused: what users have made
SELECT value('total', 'asks(e.amount)');
SELECT value('total', 'moves(e.amount)');
SELECT value('paid', 'e.amount ~~~ 1');
SELECT value('paid', 'e.amount ~~~ ANY (ARRAY[1, 2])');
SELECT value('fresh_at', 'e.occurred_at');
SELECT value('paid_at', '(jsonb_populate_record(NULL::money_at, e.payload)).at');
SELECT day('(e.occurred_at + interval ''1 day'' * asks(e.amount)::integer)::date');
SELECT wallet_projection.definition_describe('MERGE INTO orders_view o USING (SELECT * FROM order_events WHERE moves(amount) > 0) e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE');
SELECT wallet_projection.definition_describe('MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id WHEN MATCHED AND random() > 0.5 THEN DELETE');

-- hints
-- What does a definition with these WHENs say?
CREATE FUNCTION whens(clauses text) RETURNS void LANGUAGE sql AS $$
    SELECT wallet_projection.definition_describe('MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id ' || clauses)
$$;
CREATE FUNCTION head(text) RETURNS void LANGUAGE sql AS $$
    SELECT wallet_projection.definition_describe($1)
$$;
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.payload->>'id' WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON e.payload->>'id' = o.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.payload->'id' WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = (e.payload->'id')::uuid WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.payload->>'id'::uuid WHEN MATCHED THEN DELETE$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = o.total + e.payload->>'price'::numeric$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = o.total + (e.payload->>'price')$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = o.total + e.payload->>'price'$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = e.payload->>'price'$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = e.payload->'price'$$);
SELECT whens($$WHEN MATCHED AND e.payload->>'a'->>'b' = 'x' THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.payload->'status' = 'paid' THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.payload->>'paid' THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.event_type == 'x' THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.event_type = "PAID" THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.payload.price > 3 THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.event_type = 'x' && e.amount > 0 THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.payload->>'n' > 3 THEN DELETE$$);
SELECT whens($$WHEN NOT MATCHED THEN INSERT (o.order_id) VALUES (e.order_id)$$);
SELECT whens($$WHEN NOT MATCHED THEN INSERT INTO orders_view (order_id) VALUES (e.order_id)$$);
SELECT whens($$WHEN MATCHED THEN UPDATE orders_view SET total = 1$$);
SELECT whens($$WHEN MATCHED THEN DELETE FROM orders_view$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = 1 WHERE e.event_type = 'x'$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = c.x FROM customers c$$);
SELECT whens($$WHEN MATCHED WHERE e.event_type = 'x' THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.event_type = 'x' UPDATE SET total = 1$$);
SELECT whens($$WHEN MATCHED UPDATE SET total = 1$$);
SELECT whens($$WHEN MATCHED THEN DELETE ELSE DO NOTHING$$);
SELECT whens($$WHEN MATCHED THEN DELETE WHEN MATCHED AND e.event_type = 'x' THEN UPDATE SET total = 1$$);
SELECT whens($$WHEN MATCHED THEN SET total = 1$$);
SELECT whens($$WHEN MATCHED THEN UPDATE total = 1$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total += 1$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = sum(e.amount)$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET n = count(*)$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = total + amount, order_id = order_id$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view USING order_events ON o.order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = EXCLUDED.total$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON orders_view.order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = order_events.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_veiw o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO away o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_seen o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.oder_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.orderid WHEN MATCHED AND xyz = 1 THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o ON o.order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE orders_view o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id$$);
SELECT whens($$WHEN NOT MATCHED THEN DELETE$$);
SELECT whens($$WHEN MATCHED THEN INSERT (order_id) VALUES (e.order_id)$$);
SELECT whens($$WHEN NOT MATCHED THEN INSERT (order_id, status) VALUES (e.order_id)$$);
SELECT whens($$WHEN NOT MATCHED THEN INSERT (order_id, status) SELECT e.order_id, 'x'$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = COALESCE(e.payload->>'x', 0)$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET paid_at = e.payload->>'at'$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = CASE WHEN e.event_type = 'x' THEN e.payload->>'a' ELSE 0 END$$);
SELECT whens($$WHEN MATCHED AND e.event_type IN ('a', 'b' THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.event_type = 'a THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND THEN DELETE$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = 1, WHEN NOT MATCHED THEN DO NOTHING$$);
SELECT whens($$WHEN MATCHED e.event_type = 'x' THEN DELETE$$);
SELECT whens($$WHEN e.event_type = 'x' THEN DELETE$$);
SELECT whens($$WHEN MATCHED THEN DO UPDATE SET total = 1$$);
SELECT whens($$WHEN MATCHED THEN NOTHING$$);
SELECT whens($$WHEN NOT MATCHED THEN INSERT order_id = e.order_id$$);
SELECT whens($$WHEN NOT MATCHED THEN INSERT (order_id) VALUES e.order_id$$);
SELECT head($$MERGE INTO orders_view o USING order_events WHERE event_type = 'x' ON o.order_id = order_events.order_id WHEN MATCHED THEN DELETE$$);
SELECT head($$MERGE INTO orders_view o USING SELECT * FROM order_events ON o.order_id = order_id WHEN MATCHED THEN DELETE$$);
SELECT whens($$AND WHEN MATCHED THEN DELETE$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET paid_at = e.occurred_at + 1$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET status = CONCAT(o.status, e.nope)$$);
SELECT head($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.no WHEN MATCHED THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.event_type = 'ä' AND e.payload->>'é' > 3 THEN DELETE$$);
SELECT whens($$WHEN NOT MATCHED THEN INSERT (order_id) VALUES (e.order_id) WHEN MATCHED THEN UPDATE SET total = CASE WHEN e.amount > 1 THEN 1 ELSE 2 END WHEN MATCHED AND e.amount > 3 THEN DELETE$$);
SELECT whens($$WHEN MATCHED AND e.payload->'status' IN ('a', 'b') THEN DELETE$$);
SELECT whens($$WHEN MATCHED THEN UPDATE SET total = max(e.amount)$$);
SELECT head($$SELECT 1$$);
SELECT whens($$WHEN MATCHED THEN DELETE; SELECT 1$$);

-- meaning
SELECT unnest(uses) FROM wallet_projection.definition_meaning('MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id WHEN MATCHED AND e.event_type IN (''a'', ''b'') THEN UPDATE SET total = pure(o.total), owed = e.amount WHEN NOT MATCHED THEN INSERT (order_id, day) VALUES (e.order_id, e.occurred_at::date)');
CREATE FUNCTION partitioning(text) RETURNS text LANGUAGE sql AS 'SELECT partitioning FROM wallet_projection.definition_meaning($1)';
CREATE FUNCTION fingerprint(text) RETURNS bigint LANGUAGE sql AS 'SELECT fingerprint FROM wallet_projection.definition_meaning($1)';
CREATE FUNCTION day_of(jsonb) RETURNS date IMMUTABLE LANGUAGE sql AS $$ SELECT to_date($1->>'day', 'YYYY-MM-DD') $$;
\set definition 'MERGE INTO days d USING (SELECT * FROM order_events WHERE event_type > upper(''a'' COLLATE "C")) e ON d.day = day_of(e.payload) WHEN NOT MATCHED THEN INSERT (day) VALUES (day_of(e.payload))'
\set fan_out 'MERGE INTO days d USING (SELECT (l.line->>''day'')::date AS day, e.amount FROM order_events e, jsonb_array_elements(e.payload->''lines'') WITH ORDINALITY AS l(line, ord)) e ON d.day = e.day WHEN NOT MATCHED THEN INSERT (day, n) VALUES (e.day, e.amount)'
SELECT partitioning(:'definition');
SELECT partitioning(:'fan_out');
SELECT fingerprint(:'definition') AS before, fingerprint(:'fan_out') AS fan_before \gset
-- settings and the path change nothing, nor do dropped columns
SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Tokyo'; SET search_path = public, regress_wp; SET quote_all_identifiers = on;
SELECT fingerprint(:'definition') = :before, fingerprint(:'fan_out') = :fan_before;
RESET DateStyle; RESET TimeZone; RESET quote_all_identifiers; SET search_path = regress_wp;
ALTER TABLE order_events DROP COLUMN local_at; ALTER TABLE order_events ADD COLUMN more integer;
CREATE TABLE other_events (order_id uuid NOT NULL, gone integer, event_type text NOT NULL, amount numeric, payload jsonb, no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
ALTER TABLE other_events DROP COLUMN gone;
SELECT fingerprint(:'definition') = :before, fingerprint(:'fan_out') = :fan_before;
SELECT fingerprint(replace(:'fan_out', 'order_events', 'other_events')) = :fan_before;
-- a replaced function, another condition, another function of the same name
CREATE OR REPLACE FUNCTION day_of(jsonb) RETURNS date IMMUTABLE LANGUAGE sql AS $$ SELECT to_date($1->>'day', 'DD-MM-YYYY') $$;
SELECT fingerprint(:'definition') = :before;
CREATE OR REPLACE FUNCTION day_of(jsonb) RETURNS date IMMUTABLE LANGUAGE sql AS $$ SELECT to_date($1->>'day', 'YYYY-MM-DD') $$;
SELECT fingerprint(:'definition') = :before;
SELECT fingerprint(replace(:'definition', 'upper', 'lower')) = :before;
-- joins, which have names for the columns of their own
SELECT partitioning('MERGE INTO days d USING (order_events e JOIN LATERAL jsonb_array_elements_text(e.payload->''days'') AS l(x) ON l.x <> e.event_type) AS j ON d.day = day_of(j.payload) WHEN NOT MATCHED THEN INSERT (day) VALUES (day_of(j.payload))');
CREATE TABLE named_days (day text PRIMARY KEY);
SELECT count(partitioning(format('MERGE INTO named_days d USING (SELECT %s) i ON d.day = i.day WHEN NOT MATCHED THEN INSERT (day) VALUES (i.day)', source)))
  FROM unnest(ARRAY['j.day FROM (order_events e JOIN LATERAL jsonb_array_elements_text(e.payload->''days'') AS l(x) ON true) AS j(a, b, c, d, e, f, g, h, day)',
                    'jj.day FROM ((order_events e JOIN LATERAL jsonb_array_elements(e.payload) AS l(kk) ON true) AS j JOIN LATERAL jsonb_array_elements_text(j.kk) AS m(day) ON true) AS jj',
                    'l.day FROM (order_events e JOIN LATERAL jsonb_to_recordset(e.payload) AS l(day text, amount numeric) USING (amount) AS u) WHERE u.amount > 0',
                    'day FROM order_events e LEFT JOIN LATERAL jsonb_to_recordset(e.payload) AS l(day text, amount numeric) USING (amount)',
                    '(j).x AS day FROM (order_events e JOIN LATERAL jsonb_array_elements_text(e.payload) AS l(x) ON true) AS j WHERE j IS NOT NULL',
                    '(SELECT max(x) FROM jsonb_array_elements_text(j.payload) x WHERE x <> j.day) AS day FROM (order_events e JOIN LATERAL jsonb_array_elements_text(e.payload) AS l(day) ON true) AS j',
                    'x.day FROM order_events e, LATERAL (SELECT j.day FROM (jsonb_array_elements(e.payload) AS a(p) JOIN LATERAL jsonb_array_elements_text(a.p) AS l (day) ON true) AS j) x']) AS source;
-- settings: the path as it is, without schemas that are not there
SET search_path = "$user", regress_wp, nowhere, pg_temp, public;
SELECT settings[1] FROM wallet_projection.definition_meaning(:'fan_out');
DROP SCHEMA regress_wp_away CASCADE;
DROP SCHEMA regress_wp CASCADE;
