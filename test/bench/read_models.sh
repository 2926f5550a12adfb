# shellcheck shell=bash disable=SC2154
#
# Other read models over the same stream: keys of different cardinality, and
# many projections.  The cost of an event should be the same for each.

# read_model NAME KEY TYPE: amounts by a key; the same definition for each.
read_model()
{
	sql "CREATE TABLE $1 (k $3 PRIMARY KEY, moved numeric NOT NULL, moves bigint NOT NULL);
		SELECT projection_create('$1', \$\$
			MERGE INTO $1 m USING (SELECT *, $2 AS k FROM wallet_stream WHERE event_name <> 'WalletWasCreated') e ON m.k = e.k
			WHEN MATCHED THEN UPDATE SET moved = m.moved + (e.payload->>'amount')::numeric, moves = m.moves + 1
			WHEN NOT MATCHED THEN INSERT VALUES (e.k, (e.payload->>'amount')::numeric, 1)\$\$,
			channel => 'bench', ordering => 'arrival')" >/dev/null
}

# check_read_model NAME KEY
check_read_model()
{
	[ "$(sql "SELECT count(*) FROM (TABLE $1 EXCEPT
			SELECT $2, sum((payload->>'amount')::numeric), count(*) FROM wallet_stream
			 WHERE event_name <> 'WalletWasCreated' GROUP BY 1) d")" = 0 ] ||
		die "$1 is not what its events say"
}


load "$wallets" $((events - wallets))
by_day="(no / 10000)::int"
read_model by_day "$by_day" int
read_model by_customer aggregate_id text
for ((round = 0; round < rounds; round++)); do
	measure 'a row per day' backfill_rate "$events" by_day
	measure 'a row per customer' backfill_rate "$events" by_customer
	check_read_model by_day "$by_day"
	check_read_model by_customer aggregate_id
done
show read_models 'a row per day'
compare read_models 'a row per customer' 'a row per day' 0.5

# N_projections N: events per second and projection, all consumed in turn
n_projections()
{
	sql "SELECT projection_drop(projection) FROM projection_status WHERE projection LIKE 'many%'" >/dev/null
	for ((i = 1; i <= $1; i++)); do
		sql "DROP TABLE IF EXISTS many_$i"
		read_model "many_$i" "$by_day" int
	done
	settle
	events_per_second $(($1 * events)) 1 "$(for ((i = 1; i <= $1; i++)); do
		echo "SELECT projection_backfill('many_$i');"
	done)"
}

for ((round = 0; round < rounds; round++)); do
	measure '1 projection' n_projections 1
	measure '20 projections, each' n_projections 20
done
show read_models '1 projection'
compare read_models '20 projections, each' '1 projection' 0.9
