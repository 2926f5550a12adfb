# shellcheck shell=bash disable=SC2154
#
# What dead numbers cost while a writer is open that could own them: none, and
# 10,000, 100,000, ... up to --gaps of them, each between two events that are
# applied.  In the session that has been there all the time, and in new ones.
# Then the pass after the writer has ended, in which they are forgotten.

# Commands, on wallets of their own.
gap_event="SELECT wallet_credit('c' || 1 + @ % 100, 1)"

# gaps_now: as the status counts them; nothing if that takes too long.
gaps_now()
{
	ask keeper "$(limited 'SELECT gaps FROM projection_status')"
}

# fresh_event SIDE: the first event of nine new sessions.
fresh_event()
{
	local i

	for i in 1 2 3 4 5 6 7 8 9; do
		open_session fresh
		# its caches and the view of shared memory are not what is measured
		ask fresh "SELECT count(*) FROM wallet_stream WHERE no < 0; SELECT wallet_credit('c$i', 1)" >/dev/null
		measure_cpu "$1: new session" fresh 1 '' "$run_batch"
		close_session fresh
		case ${results[$1: new session]} in *over*) break ;; esac
	done
}

# clear_gaps NUMBER: the writer has ended; the last pass, by microseconds per gap.
clear_gaps()
{
	local us pass left

	for pass in 1 2 3; do
		us=$(clock=$cpu_clock batches keeper 1 '' "$run_batch")
		us=${us%% *}
		[ "$us" != over ] || break
		left=$(gaps_now)
		[ "$left" != 0 ] || break
	done
	[ "$us" = over ] || [ "$left" = 0 ] || die "$left gaps are left after $pass passes"
	if [ "$1" = 0 ]; then
		results[0: writer ended]+=" $us"
	elif [ "$us" = over ]; then
		results[$1: writer ended, a gap]+=' over'
	else
		results[$1: writer ended, a gap]+=" $(awk -v us="$us" -v n="$1" 'BEGIN { printf "%.4f", us / n }')"
	fi
}

# with_gaps NUMBER: measures; caught_up is "over" if it does not get that far.
with_gaps()
{
	local found

	open_session writer
	ask writer "BEGIN; SELECT wallet_credit('writer', 1)" >/dev/null
	sql "CALL bench_gaps(10000, $1); ANALYZE wallet_stream"
	caught_up=$(ask keeper "$(limited "$run_batch")")
	if [ "$caught_up" = over ]; then
		say '%-13s %-32s %11s s: MISSED\n' gaps "$1: to catch up with them" "over $limit"
		close_session writer
		return
	fi
	found=$(gaps_now)
	[ "$found" = over ] || [ "$found" -ge "$1" ] || die "there are $found gaps, not $1"
	measure_batches "$1: 1 event" keeper 200 "$gap_event" "$run_batch"
	measure_batches "$1: no event" keeper 200 '' "$run_batch"
	measure_batches "$1: status" keeper 50 '' 'SELECT * FROM projection_status'
	measure_cpu "$1: 10,000 events" keeper 5 "$many_events" "$run_batch"
	fresh_event "$1"
	ask writer 'COMMIT' >/dev/null
	close_session writer
	clear_gaps "$1"
}

new_database
sql "CALL bench_create(1, 10000);
	SELECT wallet_create('writer', 0), count(wallet_create('c' || i, 1000)) FROM generate_series(1, 100) i;
	$run_batch;
	VACUUM ANALYZE" >/dev/null
open_session keeper
batches keeper 2 "$many_events" "$run_batch" >/dev/null
numbers=()
for ((n = 10000; n <= gaps; n *= 10)); do
	numbers+=("$n")
done
measured=()
for n in 0 "${numbers[@]}"; do
	with_gaps "$n"
	[ "$caught_up" != over ] || break
	measured+=("$n")
done
close_session keeper
if [ "${#measured[@]}" -gt "${#numbers[@]}" ]; then
	sql "CALL bench_check('wallet_balances')"
fi

# lines SIDE TIME WAL: of all numbers of gaps, with what is wanted of time and
# WAL against none.
lines()
{
	local n

	for n in "${measured[@]}"; do
		if [ "$n" = 0 ]; then
			cost gaps "0: $1" us
			[ -z "$3" ] || cost gaps "0: $1, WAL" bytes
		else
			at_most gaps "$n: $1" us "0: $1" "$2"
			[ -z "$3" ] || at_most gaps "$n: $1, WAL" bytes "0: $1, WAL" "$3"
		fi
	done
}

lines '1 event with append' 1.5 2
lines '1 event' 1.5 2
lines 'new session' 1.5 2
lines '10,000 events' 1.5 2
lines 'no event' 2 ''
lines status 2 ''
cost gaps '0: writer ended' us
for n in "${measured[@]:1}"; do
	if [ "$n" = "${measured[1]}" ]; then
		cost gaps "$n: writer ended, a gap" us
	else
		at_most gaps "$n: writer ended, a gap" us "${measured[1]}: writer ended, a gap" 2
	fi
done
