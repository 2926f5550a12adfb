# shellcheck shell=bash disable=SC2154
#
# Events of another aggregate type, one and a half times --events of them, in
# a row: what one costs against a wallet's, how long the longest transaction
# of projection_consume is that passes them, whether positions are saved as
# it goes, and whether a cancel keeps them.  Then a batch behind them, and
# among as many.

consume="CALL projection_consume('async_projection', finish_when_no_messages => true)"
foreign=$((events * 3 / 2))

# consume_watched EVENTS: microseconds of CPU time per event, the longest transaction in
# seconds, how often the heads moved.
consume_watched()
{
	local pid took watched

	pid=$(ask consumer 'SELECT pg_backend_pid()')
	open_session watcher
	printf 'CALL bench_watch(%s);\n\\echo -- watched\n' "$pid" >&"${to_session[watcher]}"
	sleep 0.1
	took=$(ask consumer "SELECT $cpu_clock; $consume; SELECT $cpu_clock" |
		awk '{ v[NR] = $1 } END { printf "%.6f", v[NR] - v[1] }')
	read -r watched <&"${from_session[watcher]}"
	close_session watcher
	awk -v s="$took" -v n="$1" -v w="${watched/|/ }" 'BEGIN { print s / n * 1000000, w }'
}

lowest_head()
{
	sql 'SELECT min(head) FROM projection_partitions'
}

new_database
sql "CALL bench_create(1, 10000); $run_batch; VACUUM ANALYZE" >/dev/null
open_session consumer
batches consumer 2 "$many_events" "$run_batch" >/dev/null
measure_cpu 'before: 10,000 events' consumer 5 "$many_events" "$run_batch"
measure_batches 'before: 1 event' consumer 200 "$one_event" "$run_batch"

# a wallet's events
for ((i = 0; i < 20; i++)); do
	sql "$many_events"
done
answer=$(consume_watched 200000)
read -r us longest _ <<<"$answer"
results[wallet event]=$us
results[wallet events: longest]=$(awk -v s="$longest" 'BEGIN { print s * 1000 }')

# others' events
head=$(lowest_head)
sql "CALL bench_foreign($foreign); ANALYZE wallet_stream"
sql 'CHECKPOINT'
sql 'SELECT count(*) FROM wallet_stream' >/dev/null

# what cancels in the middle: a statement_timeout, longer and longer until
# positions have moved
for ((ms = 20; ms < 200000; ms *= 2)); do
	cancelled=$(ask consumer "SET statement_timeout = $ms; $consume; RESET statement_timeout")
	kept=$(lowest_head)
	if [ "$cancelled" != over ] || [ "$kept" -gt "$head" ]; then
		break
	fi
done
left=$((foreign + head - kept))
say '%-13s %-32s %11.1f %%  after %d ms, wanted above 0 and below 100: %s\n' foreign 'kept by a cancel' \
	"$(awk -v k="$kept" -v h="$head" -v n="$foreign" 'BEGIN { print (k - h) / n * 100 }')" \
	"$ms" \
	"$([ "$kept" -gt "$head" ] && [ "$left" -gt 0 ] && echo reached || echo MISSED)"
if [ "$left" -le 0 ]; then
	# cancels keep nothing: as many again, in one go
	sql "CALL bench_foreign($foreign); ANALYZE wallet_stream"
	left=$foreign
fi
answer=$(consume_watched "$left")
read -r us longest saves <<<"$answer"
results[foreign event]=$us
results[foreign events: longest]=$(awk -v s="$longest" 'BEGIN { print s * 1000 }')

measure_cpu 'behind: 10,000 events' consumer 5 "$many_events" "$run_batch"
measure_batches 'behind: 1 event' consumer 200 "$one_event" "$run_batch"
measure_cpu 'among: 10,000 events' consumer 5 "$many_events; CALL bench_foreign(10000)" "$run_batch"
measure_batches 'among: 1 event' consumer 200 "$one_event; CALL bench_foreign(1)" "$run_batch"
close_session consumer
sql "CALL bench_check('wallet_balances')"

cost foreign 'wallet event' us
at_most foreign 'foreign event' us 'wallet event' 1
cost foreign 'wallet events: longest' ms '  transaction'
under foreign 'foreign events: longest' ms 1000
say '%-13s %-32s %11d times  wanted at least 2: %s\n' foreign 'foreign events: heads moved' "$saves" \
	"$([ "$saves" -ge 2 ] && echo reached || echo MISSED)"
for side in '1 event' '1 event, WAL' '10,000 events' '10,000 events, WAL'; do
	unit=us
	[ "${side%WAL}" = "$side" ] || unit=bytes
	cost foreign "before: $side" "$unit"
	at_most foreign "behind: $side" "$unit" "before: $side" 1.2
	cost foreign "among: $side" "$unit" '  as many of others'
done
