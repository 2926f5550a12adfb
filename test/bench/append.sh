# shellcheck shell=bash disable=SC2154
#
# A hundred events in one call, two clients: one INSERT of a hundred rows, and
# stream_append.  Each round starts with an empty table.

new_database
sql "SELECT stream_create('bench_append')" >/dev/null

# hundred TEXT: a hundred times, with the number in place of @.
hundred()
{
	local i separator=

	for ((i = 1; i <= 100; i++)); do
		printf '%s%s' "$separator" "${1//@/$i}"
		separator=', '
	done
}

set_id='\set i random(1, 10000)
\set id 10000000 + :i * 48271 % 89999999'

insert="$set_id
\\set v :v + 200
\\set version :v + :client_id * 100
INSERT INTO bench_append (event_id, event_name, aggregate_type, aggregate_id,
                          aggregate_version, payload, metadata)
SELECT gen_random_uuid(), 'LineWasAdded', 'Order', a.id, a.version + e.n, e.payload, '{}'
  FROM (SELECT :id || '-0000-4000-8000-000000000000' AS id, :version::bigint AS version) a,
       (VALUES $(hundred "(@, '{\"line\": @, \"price\": 12.50}'::jsonb)")) e(n, payload);"
append="$set_id
SELECT stream_append('bench_append', 'Order', :id || '-0000-4000-8000-000000000000',
    '[$(hundred '{"event_name": "LineWasAdded", "payload": {"line": @, "price": 12.50}}')]');"

empty()
{
	sql 'TRUNCATE bench_append'
	settle
}

for ((round = 0; round < rounds; round++)); do
	empty
	measure 'INSERT of 100 rows' pgbench_rate 2 "$insert" -D v=0
	empty
	measure 'stream_append of 100 events' pgbench_rate 2 "$append"
	sql 'CALL bench_check_versions()'
done
show append 'INSERT of 100 rows'
compare append 'stream_append of 100 events' 'INSERT of 100 rows' 1.0
