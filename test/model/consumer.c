/*
 * consumer.c
 *		The model's consumers, up to what they apply.
 *
 * A batch goes the way of the real one, phase by phase: claim groups, read the
 * stored positions, read the sequence, read the lockers, take a snapshot, read
 * a limited batch and apply it.  save.c has the rest.
 */
#include "postgres.h"

#include "support.h"
#include "consumer.h"

int			left_out_percent;
int			greed_percent;
int			frailty_percent;
int			writes_percent;
bool		promises_only;

/* What has been applied. */
static int	applied[AGGREGATES];	/* version reached */
static bool is_applied[STEPS + 1];
static uint64 claimed;			/* groups */

/*
 * What a consumer remembers
 */

void
consumer_forget(Consumer *consumer)
{
	GenerationsForget(&consumer->known);
	consumer->look_count = 0;
	parked_forget(consumer);
}

static bool
is_look_at(const Look *look, const PositionSet *set)
{
	if (mutation == WATCHED_BY_VALUE)
		return look->position.head == set->position.head &&
			NumberSetEquals(&look->position.gaps, &set->position.gaps);
	if (mutation == WATCHED_BY_LANE)
		return look->lane == set->lane;
	if (mutation == WATCHED_BY_PLACE)
		return look->mark.place == set->mark.place;
	if (mutation == WATCHED_BY_WRITER)
		return look->mark.place == set->mark.place &&
			look->mark.writer == set->mark.writer &&
			look->mark.version == set->mark.version;
	return SameRow(&look->mark, &set->mark);
}

const Look *
consumer_look(const Consumer *consumer, const PositionSet *set)
{
	for (int i = consumer->look_count - 1; i >= 0; i--)
		if (is_look_at(&consumer->looks[i], set))
			return &consumer->looks[i];
	return NULL;
}

void
consumer_remember(Consumer *consumer, const PositionSet *set, uint64 look)
{
	if (consumer->look_count == LOOKS)
	{
		consumer->look_count--;
		memmove(&consumer->looks[0], &consumer->looks[1],
				(LOOKS - 1) * sizeof(Look));
	}
	consumer->looks[consumer->look_count++] = (Look)
	{
		.mark = set->mark,.position = set->position,
			.lane = set->lane,.look = look
	};
}

/*
 * Claim, settle, snapshot
 */

static void
read_events(Consumer *consumer)
{
	for (int i = 1; i <= STEPS; i++)
		consumer->snapshot[i] = events[i].committed ||
			stream_own_sees(consumer->own, i);
}

static void
read_positions(Consumer *consumer)
{
	consumer->view = stored;
	for (int i = 0; i < consumer->batch_count; i++)
		store_apply(&consumer->view, &consumer->batches[i]);
}

static void
claim(Consumer *consumer)
{
	uint64		more = AllGroups(GROUPS) & ~claimed;

	if (!random_chance(greed_percent))
		more &= random_bits();
	consumer->claimed_before = consumer->claimed;
	consumer->claimed |= more;
	claimed |= more;
	if (consumer->claimed == 0)
		return;
	if (mutation == SNAPSHOT_BEFORE_SETTLE)
		read_events(consumer);
	consumer->phase = POSITIONS;
}

/* The transaction appends, too; the last statement may still run. */
static void
write_events(Consumer *consumer)
{
	if (consumer->own == NOBODY)
		consumer->own = stream_own_begin();
	if (consumer->own != NOBODY)
		for (int left = random_below(6); left > 0; left--)
			stream_own_write(consumer->own);
}

static void
open_sets(Consumer *consumer)
{
	if (random_chance(writes_percent))
		write_events(consumer);
	if (mutation != READ_BEFORE_CLAIM)
		read_positions(consumer);
	consumer->early = stream_lockers(consumer->own);
	consumer->early_owners = stream_unfinished(&consumer->early);
	consumer->all = store_resolve(&consumer->view);
	consumer->sets = SetsClaimed(&consumer->all, consumer->claimed);
	consumer->phase = FIRST_READ;
}

static void
first_read(Consumer *consumer)
{
	consumer->early = stream_lockers(consumer->own);
	consumer->number = last_number;
	consumer->phase = SECOND_READ;
}

/* The answers when the writers of the oldest generation are asked first. */
static bool answers[GENERATIONS_MAX][STEPS];
static const Generations *answers_of;

static void
ask_oldest_first(const Generations *known)
{
	answers_of = known;
	for (int i = 0; i < known->count; i++)
		for (int j = 0; j < known->generations[i].writers.count; j++)
			answers[i][j] = writer_asked(&known->generations[i].writers.ids[j]);
}

static bool
answered(const VirtualTransactionId *id)
{
	for (int i = 0; i < answers_of->count; i++)
	{
		const VirtualTransactionId *ids = answers_of->generations[i].writers.ids;

		/* whoever is asked now has not been moved yet */
		for (int j = 0; j < answers_of->generations[i].writers.count; j++)
			if (&ids[j] == id)
				return answers[i][j];
	}
	Assert(false);
	return false;
}

static void
shrink(Generations *known)
{
	if (mutation == OLDEST_ASKED_FIRST)
	{
		ask_oldest_first(known);
		GenerationsShrink(known, answered);
	}
	else
		GenerationsShrink(known, writer_asked);
}

/* The generation was there before, as it were. */
static void
add_unmarked(Generations *known, int64 last, const Writers *writers)
{
	Step		before = {0};

	if (known->step_count > 0)
		before = known->steps[known->step_count - 1];
	GenerationsAdd(known, last, writers);
	if (known->step_count > 0 &&
		known->steps[known->step_count - 1].last > before.last)
		known->steps[known->step_count - 1].look = before.look;
}

static void
second_read(Consumer *consumer)
{
	Generations *known = &consumer->known;

	consumer->lockers = stream_lockers(consumer->own);
	if (mutation == LOCKERS_BEFORE_NUMBER)
	{
		consumer->lockers = consumer->early;
		consumer->number = last_number;
	}
	if (consumer->sequence_file != sequence_file &&
		mutation != RESTART_OVERLOOKED)
		GenerationsForget(known);
	consumer->sequence_file = sequence_file;
	shrink(known);
	/* our own transaction may have numbers that no snapshot shows yet */
	if (consumer->own != NOBODY && mutation != OWN_OVERLOOKED)
		;
	else if (mutation == NEW_GENERATION_OLD)
		add_unmarked(known, consumer->number, &consumer->lockers);
	else
		GenerationsAdd(known, consumer->number, &consumer->lockers);

	consumer->settled = known->settled;
	consumer->look = known->look;
	memset(&consumer->oldest, 0, sizeof(consumer->oldest));
	if (known->count > 0)
	{
		consumer->oldest.last = known->generations[0].last;
		consumer->oldest.writers =
			stream_unfinished(&known->generations[0].writers);
	}
	consumer->phase = SNAPSHOT;
}

static void
take_snapshot(Consumer *consumer)
{
	if (mutation != SNAPSHOT_BEFORE_SETTLE)
		read_events(consumer);
	consumer->phase = APPLY;
}

/*
 * Which gaps are looked at
 */

/*
 * Are gaps of these owners invisible?  Those that our own transaction has
 * filled are not.
 */
static bool
owners_go_on(const Consumer *consumer, const Writers *owners)
{
	Writers		left = stream_unfinished(owners);

	for (int i = 0; i < owners->count && mutation != OWN_AMONG_OWNERS; i++)
		if (owners->ids[i].transaction == consumer->own)
			return false;
	return left.count > 0 &&
		(left.count == owners->count || mutation == ONE_OWNER_GOES_ON);
}

/* The first gap of this set that may be visible in the snapshot. */
static int64
first_to_look_at(Consumer *consumer, const PositionSet *set)
{
	Generations *known = &consumer->known;
	const Writers *owners = &store_row(&consumer->view, set)->owners;
	const Look *look = consumer_look(consumer, set);
	int64		lowest = set->old.size > 0 ? set->old.first :
		set->position.gaps.count > 0 ? set->position.gaps.ranges[0].first :
		set->position.head + 1;
	int64		from = 1;

	if (lowest <= known->settled && mutation != SETTLED_LEFT_OUT)
		return 1;
	if (look != NULL)
		from = GenerationsSince(known, look->look);
	if (look != NULL && mutation == ONE_WRITER_GOES_ON && known->count > 0)
		from = Max(from, known->generations[0].last + 1);
	if (owners->count > 0 && owners_go_on(consumer, owners))
	{
		from = Max(from, set->old.last + 1);
		if (random_chance(50))
			GenerationsLearn(known, set->old.last, owners);
	}
	return from;
}

static Trip *
trip_of(Batch *batch, int number)
{
	int			group = group_of(number);

	for (int i = 0; i < batch->count && group >= 0; i++)
		if ((batch->trips[i].before.groups & GroupBit(group)) != 0)
			return &batch->trips[i];
	return NULL;
}

/* Has no visible gap up to `to` a later event of its aggregate above it? */
static bool
may_leave_out(Batch *batch, int to)
{
	const bool *snapshot = batch->consumer->snapshot;

	for (int n = 1; n <= to; n++)
	{
		const Trip *trip = trip_of(batch, n);

		if (trip == NULL || !snapshot[n] || PositionApplied(&trip->full, n))
			continue;
		for (int later = to + 1; later <= last_number; later++)
			if (events[later].aggregate == events[n].aggregate &&
				snapshot[later] && !PositionApplied(&trip->full, later))
				return false;
	}
	return true;
}

/* Where to begin, and with which gaps. */
static void
choose_gaps(Batch *batch)
{
	Consumer   *consumer = batch->consumer;
	int64		low = STEPS;
	int64		from = STEPS + 1;

	/* asked after the snapshot: who still writes now is not in it */
	if (mutation != GAPS_LEFT_OUT_TOO_EARLY)
		shrink(&consumer->known);
	for (int i = 0; i < batch->count; i++)
	{
		const PositionSet *set = &batch->trips[i].before;

		low = Min(low, set->position.head);
		from = Min(from, first_to_look_at(consumer, set));
	}
	batch->left_out = !batch->final && random_chance(left_out_percent) &&
		may_leave_out(batch, (int) low);
	batch->report.from = batch->left_out ? low + 1 : Min(from, low + 1);
	/* gaps that are not filled may be left out above the lowest head, too */
	if (batch->left_out || random_chance(50))
		from = batch->report.from;

	for (int i = 0; i < batch->count; i++)
	{
		Trip	   *trip = &batch->trips[i];

		trip->loaded = trip->before.old.size > 0 &&
			trip->before.old.last >= from;
		if (trip->loaded)
		{
			trip->now.position = trip->full;
			memset(&trip->now.old, 0, sizeof(trip->now.old));
		}
	}
}

/*
 * Read and apply
 */

static bool
wanted(Batch *batch, int number)
{
	const Trip *trip = trip_of(batch, number);

	return trip != NULL && batch->consumer->snapshot[number] &&
		!PositionApplied(&trip->now.position, number);
}

/* The numbers to look at: above every head, and all that are gaps. */
static NumberSet
numbers_to_read(const Batch *batch)
{
	NumberSet	numbers = {0};
	int64		low = STEPS;

	for (int i = 0; i < batch->count; i++)
		low = Min(low, batch->trips[i].before.position.head);
	NumberSetAppend(&numbers, low + 1, STEPS + 1);
	for (int i = 0; i < batch->count; i++)
		numbers = NumberSetUnion(&numbers, &batch->trips[i].now.position.gaps);
	return NumberSetBetween(&numbers, batch->report.from, STEPS);
}

/*
 * Reads the snapshot from report.from on, up to the limit.  Of the settled
 * numbers only those that somebody projects are read, as a filter would have
 * it, and only some of them are told.
 */
static void
read_batch(Batch *batch, int limit)
{
	NumberSet	numbers = numbers_to_read(batch);
	ReadReport *report = &batch->report;

	report->whole = true;
	report->seen = &batch->seen;
	for (int n = 1; n <= STEPS; n++)
	{
		bool		settled = n <= report->settled;

		if (!batch->consumer->snapshot[n] || !NumberSetContains(&numbers, n) ||
			(settled && group_of(n) < 0))
			continue;
		if (limit-- == 0)
		{
			report->whole = false;
			break;
		}
		batch->events[n] = true;
		report->last = n;
		if (!settled || random_chance(50))
			NumberSetAppend(&batch->seen, n, n);
	}
}

/*
 * A gap that is left out must not be visible.  It is no promise, and much of
 * the time it does no harm: the event is applied later.
 */
static void
check_read(Batch *batch)
{
	int64		last = batch->report.whole ? STEPS : batch->report.last;

	if (batch->left_out || promises_only)
		return;
	for (int n = 1; n <= last; n++)
	{
		const Trip *trip = trip_of(batch, n);

		if (trip != NULL && batch->consumer->snapshot[n] &&
			!batch->events[n] && !PositionApplied(&trip->full, n))
			broken = "a gap was left out, and it was filled";
	}
}

static void
apply_event(int number)
{
	const Event *event = &events[number];

	if (is_applied[number])
		broken = "an event was applied twice";
	else if (event->version != applied[event->aggregate] + 1)
		broken = "an event was applied out of order";
	is_applied[number] = true;
	applied[event->aggregate] = event->version;
}

static void
apply_events(Batch *batch)
{
	for (int n = 1; n <= STEPS; n++)
		if (batch->events[n] && wanted(batch, n))
		{
			parked_check(batch, events[n].aggregate);
			apply_event(n);
			batch->consumer->applied[batch->consumer->applied_count++] = n;
		}
}

static void
advance(Batch *batch, Trip *trip)
{
	Position   *position = &trip->now.position;
	int64		head = position->head;
	ReadReport	told = batch->report;

	if (mutation == UNREAD_GAPS_DROPPED)
		told.from = 1;
	if (mutation == CUT_CALLED_WHOLE)
		told.whole = true;
	*position = PositionAdvance(position, &told);
	if (mutation == SETTLED_BEYOND_LAST && told.from == 1)
		position->gaps = NumberSetBetween(&position->gaps, told.settled + 1,
										  STEPS);
	trip->looked = !batch->left_out && (told.whole || told.last >= head);
}

/*
 * Batches
 */

static void
start_batch(Batch *batch, Consumer *consumer, bool final)
{
	memset(batch, 0, sizeof(*batch));
	batch->consumer = consumer;
	batch->final = final;
	batch->report.settled = consumer->settled;
	for (int i = 0; i < consumer->sets.count; i++)
	{
		Trip	   *trip = &batch->trips[batch->count++];
		NumberSet	old;

		trip->before = consumer->sets.sets[i];
		trip->now = trip->before;
		trip->full = trip->before.position;
		old = store_old_gaps(&consumer->view, &trip->before);
		trip->full.gaps = NumberSetUnion(&old, &trip->full.gaps);
	}
}

/* All that the transaction has done is undone. */
static void
undo(Consumer *consumer)
{
	while (consumer->applied_count > 0)
	{
		int			number = consumer->applied[--consumer->applied_count];
		const Event *event = &events[number];

		is_applied[number] = false;
		applied[event->aggregate] = event->version - 1;
	}
	consumer->batch_count = 0;
	if (consumer->own != NOBODY)
		stream_own_end(consumer->own, false);
	consumer->own = NOBODY;
	consumer->phase = RELEASE;
}

static void
commit(Consumer *consumer)
{
	for (int i = 0; i < consumer->batch_count; i++)
		store_commit(&consumer->batches[i]);
	consumer->batch_count = 0;
	consumer->applied_count = 0;
	if (consumer->own != NOBODY)
		stream_own_end(consumer->own, true);
	consumer->own = NOBODY;
	consumer->phase = RELEASE;
}

/* One more in this transaction? */
static void
go_on(Consumer *consumer)
{
	consumer->phase = consumer->batch_count < BATCHES && random_chance(20) ?
		CLAIM : COMMIT;
}

/* Goes back to a savepoint: what was claimed since is free. */
static void
undo_batch(Consumer *consumer)
{
	claimed &= ~(consumer->claimed & ~consumer->claimed_before);
	consumer->claimed = consumer->claimed_before;
	go_on(consumer);
	/* what comes next is written by another subtransaction */
	consumer->writer = store_new_writer();
}

static void
keep_batch(const Batch *batch)
{
	Consumer   *consumer = batch->consumer;

	consumer->batches[consumer->batch_count++] = batch->change;
	go_on(consumer);
}

/*
 * Reads, applies and saves; or rolls back, and goes on with what it knows; or
 * crashes.  The final batch reads it all.
 */
static void
apply(Consumer *consumer, bool final)
{
	static const int limits[] = {1, 2, 3, STEPS};
	static Batch batch;
	int			limit = final ? STEPS : limits[random_below(4)];

	/* a transaction that has done something is rolled back more often */
	bool		keeps = final ||
		!random_chance(consumer->batch_count > 0 ? 40 : 10);

	start_batch(&batch, consumer, final);
	if (!final && random_chance(10))
	{
		parked_replay(&batch);
		keep_batch(&batch);
		if (random_chance(60))
			consumer->phase = consumer->batch_count < BATCHES ? CLAIM : COMMIT;
		return;
	}
	parked_open(&batch);
	choose_gaps(&batch);
	read_batch(&batch, limit);
	check_read(&batch);
	if (!final && random_chance(frailty_percent))
	{
		consumer_forget(consumer);
		undo(consumer);
		return;
	}
	if (keeps)
		apply_events(&batch);
	for (int i = 0; i < batch.count; i++)
		advance(&batch, &batch.trips[i]);
	for (int n = 1; n <= STEPS; n++)
		if (batch.events[n] && wanted(&batch, n))
			broken = "an event that was applied is still a gap";
	if (keeps)
	{
		batch_save(&batch);
		keep_batch(&batch);
		return;
	}
	if (random_chance(50))
		batch_save(&batch);
	if (random_chance(50))
		undo_batch(consumer);
	else
		undo(consumer);
}

static void
release(Consumer *consumer)
{
	claimed &= ~consumer->claimed;
	consumer->claimed = 0;
	consumer->phase = WAIT;
}

void
consumer_step(Consumer *consumer)
{
	switch (consumer->phase)
	{
		case WAIT:
			consumer->writer = store_new_writer();
			if (mutation == READ_BEFORE_CLAIM)
				read_positions(consumer);
			if (random_chance(writes_percent))
				write_events(consumer);
			consumer->phase = CLAIM;
			break;
		case CLAIM:
			claim(consumer);
			break;
		case POSITIONS:
			open_sets(consumer);
			break;
		case FIRST_READ:
			first_read(consumer);
			break;
		case SECOND_READ:
			second_read(consumer);
			break;
		case SNAPSHOT:
			take_snapshot(consumer);
			break;
		case APPLY:
			apply(consumer, false);
			break;
		case COMMIT:
			if (random_chance(95))
				commit(consumer);
			else
				undo(consumer);
			break;
		case RELEASE:
			release(consumer);
			break;
	}
}

/* Until it has not opened the table of positions, or has ended. */
void
consumer_finish(Consumer *consumer)
{
	while (consumer->phase != WAIT &&
		   (consumer->phase != CLAIM || consumer->batch_count > 0))
		consumer_step(consumer);
}

/* It keeps what it knows. */
void
consumer_roll_back(Consumer *consumer)
{
	undo(consumer);
	release(consumer);
}

/* Reads and applies all that is left, in one batch. */
void
consumer_read_all(Consumer *consumer)
{
	consumer->writer = store_new_writer();
	consumer->claimed = claimed = AllGroups(GROUPS);
	if (mutation == SNAPSHOT_BEFORE_SETTLE)
		read_events(consumer);
	read_positions(consumer);
	open_sets(consumer);
	first_read(consumer);
	second_read(consumer);
	take_snapshot(consumer);
	apply(consumer, true);
	commit(consumer);
}

/* Nothing is applied any more. */
void
consumer_start(void)
{
	claimed = 0;
	memset(applied, 0, sizeof(applied));
	memset(is_applied, 0, sizeof(is_applied));
}

bool
consumer_applied(int number)
{
	return is_applied[number];
}
