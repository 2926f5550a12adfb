--
-- Are lengths counted in characters, of whatever script?  Where the database has
-- them, which is where its encoding is UTF8.
--
SELECT getdatabaseencoding() <> 'UTF8' AS skip \gset
\if :skip
\quit
\endif
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT stream_create('orders');
SELECT stream_append('orders', repeat(U&'\+01F600', 255), repeat(U&'\+01F600', 255), jsonb_build_array(jsonb_build_object('event_name', repeat(U&'\+01F600', 100), 'payload', '{}'::jsonb)));
SELECT error_of($$ SELECT stream_append('orders', 'Order', repeat(U&'\4E2D', 256), '[{"event_name": "e", "payload": {}}]') $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o1', jsonb_build_array(jsonb_build_object('event_name', repeat(U&'\+01F600', 101), 'payload', '{}'::jsonb))) $$) LIKE '%"event_name" has more than 100 characters%';
SELECT error_of($$ SELECT stream_create(repeat(U&'\4E2D', 22)) $$);


DROP SCHEMA regress_wp CASCADE;
