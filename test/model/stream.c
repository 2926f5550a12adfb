/*
 * stream.c
 *		The model's stream: events, their numbers, and who writes them.
 *
 * Writers lock the stream, know the version they will write, draw a number,
 * insert, and commit, prepare, roll back to a savepoint or abort, in any
 * interleaving; writers of one aggregate exclude each other as the unique
 * index does.
 */
#include "postgres.h"

#include "support.h"
#include "model.h"

typedef struct Writer
{
	bool		running;
	bool		ending;			/* has ended for snapshots, holds its locks */
	bool		prepared;
	bool		slow;			/* ends late */
	bool		own;			/* a consumer's own transaction */
	bool		locked;			/* holds the write lock on the stream */
	int			drawn;			/* number drawn and not yet inserted, or 0 */
	int			events[STEPS];	/* numbers inserted */
	int			count;
	bool		in_savepoint;
	bool		locked_before;	/* locked before the savepoint */
	int			count_before;
} Writer;

Event		events[STEPS + 1];
int			last_number;
int			sequence_file;

static int	version[AGGREGATES];	/* committed */
static int	holder[AGGREGATES]; /* the writer of an uncommitted version */
static Writer writers[STEPS + 1];
static int	last_writer;

/* chosen for each run */
static int	most_writers;		/* at a time */
static bool one_is_long;		/* one writer goes on, all others are fast */
static int	promptness;			/* percent: locks are given back at once */
static int	haste;				/* percent: the youngest writer goes on */
static int	disquiet;			/* percent: one ends while others are asked */

/* The version that the writer would write next. */
static int
next_version(const Writer *writer, int aggregate)
{
	for (int i = writer->count - 1; i >= 0; i--)
		if (events[writer->events[i]].aggregate == aggregate)
			return events[writer->events[i]].version + 1;
	return version[aggregate] + 1;
}

static int
running_writers(int *running)
{
	int			count = 0;

	for (int i = 1; i <= last_writer; i++)
		if (writers[i].running && !writers[i].own)
			running[count++] = i;
	return count;
}

static int
random_writer(void)
{
	int			running[STEPS];
	int			count = running_writers(running);

	if (count == 0)
		return NOBODY;
	return running[random_chance(haste) ? count - 1 : random_below(count)];
}

static void
writer_begin(void)
{
	int			running[STEPS];

	if (running_writers(running) >= most_writers || last_writer == STEPS)
		return;
	writers[++last_writer].running = true;
	writers[last_writer].slow = one_is_long ? last_writer == 1 :
		random_chance(25);
}

/* Lock, know the version, draw the number: the first half of an INSERT. */
static void
writer_draw(int id)
{
	Writer	   *writer = &writers[id];
	int			aggregate = random_below(AGGREGATES);

	if (last_number == STEPS)
		return;
	if (holder[aggregate] != NOBODY && holder[aggregate] != id)
		return;					/* would wait on the unique index */
	if (mutation != NUMBER_BEFORE_LOCK)
		writer->locked = true;
	writer->drawn = ++last_number;
	events[last_number].aggregate = aggregate;
	events[last_number].version = next_version(writer, aggregate);
}

/* The second half; a number that cannot be inserted is burnt. */
static void
writer_insert(int id)
{
	Writer	   *writer = &writers[id];
	int			number = writer->drawn;
	Event	   *event = &events[number];

	writer->drawn = 0;
	writer->locked = true;
	if (holder[event->aggregate] != NOBODY && holder[event->aggregate] != id)
		return;					/* lost the race */
	if (mutation == VERSION_AFTER_NUMBER)
		event->version = next_version(writer, event->aggregate);
	else if (version[event->aggregate] >= event->version)
		return;					/* unique violation */
	holder[event->aggregate] = id;
	writer->events[writer->count++] = number;
}

/* Gives back what the writer holds without an event of its own for it. */
static void
release_aggregates(int id)
{
	for (int a = 0; a < AGGREGATES; a++)
	{
		bool		held = false;

		for (int i = 0; i < writers[id].count; i++)
			held = held || events[writers[id].events[i]].aggregate == a;
		if (holder[a] == id && !held)
			holder[a] = NOBODY;
	}
}

/* Sets a savepoint, or goes back to it: locks taken since are given back. */
static void
writer_savepoint(int id)
{
	Writer	   *writer = &writers[id];

	if (!writer->in_savepoint)
	{
		if (writer->drawn != 0)
			return;				/* in the middle of a statement */
		writer->locked_before = writer->locked;
		writer->count_before = writer->count;
	}
	else
	{
		writer->locked = writer->locked_before;
		writer->count = writer->count_before;
		writer->drawn = 0;
		release_aggregates(id);
	}
	writer->in_savepoint = !writer->in_savepoint;
}

/* From here on it can only end, and has another id. */
static void
writer_prepare(int id)
{
	if (writers[id].drawn == 0)
		writers[id].prepared = true;
}

static void
writer_unlock(int id)
{
	writers[id].ending = false;
	writers[id].locked = false;
}

/* Commits, or aborts: snapshots see that before the locks are given back. */
static void
writer_end(int id, bool commit)
{
	Writer	   *writer = &writers[id];

	if (commit)
		for (int i = 0; i < writer->count; i++)
		{
			Event	   *event = &events[writer->events[i]];

			event->committed = true;
			version[event->aggregate] = event->version;
		}
	writer->count = 0;
	writer->running = false;
	writer->ending = true;
	release_aggregates(id);
	if (random_chance(promptness))
		writer_unlock(id);
}

/* A slow one seldom does. */
static void
writer_ends_perhaps(int id)
{
	if (!writers[id].slow || random_chance(one_is_long ? 1 : 10))
		writer_end(id, random_chance(75));
}

void
stream_unlock_some(void)
{
	for (int i = 1; i <= last_writer; i++)
		if (writers[i].ending && random_chance(50))
			writer_unlock(i);
}

/* All writers end, and give back their locks. */
void
stream_end_all(void)
{
	for (int i = 1; i <= last_writer; i++)
	{
		if (writers[i].running)
			writer_end(i, random_chance(75));
		writer_unlock(i);
	}
}

void
stream_start(bool long_writer)
{
	one_is_long = long_writer;
	last_number = 0;
	sequence_file = 1;
	last_writer = 0;
	most_writers = 2 + random_below(8);
	promptness = one_is_long ? 100 : 50 * random_below(3);
	disquiet = 8 * random_below(3);
	haste = one_is_long ? 60 : 40 * random_below(3);
	memset(events, 0, sizeof(events));
	memset(version, 0, sizeof(version));
	memset(holder, 0, sizeof(holder));
	memset(writers, 0, sizeof(writers));
}

/* TRUNCATE ... RESTART IDENTITY: waits for those who write. */
void
stream_empty(void)
{
	stream_end_all();
	last_number = 0;
	sequence_file++;
	memset(events, 0, sizeof(events));
	memset(version, 0, sizeof(version));
}

/* Something happens. */
void
stream_event(void)
{
	int			dice = random_below(62);
	int			writer = random_writer();

	if (dice < 15)
		writer_begin();
	else if (writer == NOBODY)
		return;
	else if (dice >= 50)
	{
		writer_ends_perhaps(writer);
	}
	else if (writers[writer].prepared)
		return;
	else if (dice >= 47)
		writer_savepoint(writer);
	else if (dice >= 46)
		writer_prepare(writer);
	else if (writers[writer].drawn == 0)
		writer_draw(writer);
	else
		writer_insert(writer);
}

/* None, with space for so many. */
static Writers
writers_for(int count)
{
	Size		size = (count + 1) * sizeof(VirtualTransactionId);
	Writers		none = {.ids = palloc(size)};

	return none;
}

/*
 * Who holds a writer's lock, beside one; who is prepared is known by another
 * id.
 */
Writers
stream_lockers(int except)
{
	Writers		result = writers_for(last_writer);

	for (int i = 1; i <= last_writer; i++)
		if (writers[i].locked && i != except)
			result.ids[result.count++] = (VirtualTransactionId)
		{
			.process = writers[i].prepared ? -1 : i,.transaction = i
		};
	return result;
}

/* Has it ended for any snapshot taken from now on? */
bool
writer_has_ended(const VirtualTransactionId *id)
{
	const Writer *writer = &writers[id->transaction];

	return !writer->running &&
		!(writer->ending && mutation == LOCKS_SAY_WHO_HAS_ENDED);
}

/* The same, while time passes: this one or another one may end thereafter. */
bool
writer_asked(const VirtualTransactionId *id)
{
	bool		ended = writer_has_ended(id);

	if (random_chance(disquiet))
	{
		int			next = random_chance(50) ? id->transaction : random_writer();

		if (next != NOBODY && writers[next].running && !writers[next].own)
			writer_ends_perhaps(next);
	}
	return ended;
}

/* Those who have not ended, by ids that are unique for ever. */
Writers
stream_unfinished(const Writers *of)
{
	Writers		result = writers_for(of->count);

	for (int i = 0; i < of->count; i++)
		if (!writer_has_ended(&of->ids[i]))
			result.ids[result.count++] = (VirtualTransactionId)
		{
			.process = -1,.transaction = of->ids[i].transaction
		};
	return result;
}

/* A consumer's own transaction writes; NOBODY if there are too many. */
int
stream_own_begin(void)
{
	if (last_writer == STEPS)
		return NOBODY;
	writers[++last_writer].running = true;
	writers[last_writer].own = true;
	return last_writer;
}

void
stream_own_write(int id)
{
	if (writers[id].drawn == 0)
		writer_draw(id);
	else
		writer_insert(id);
}

bool
stream_own_sees(int id, int number)
{
	for (int i = 0; i < writers[id].count; i++)
		if (writers[id].events[i] == number)
			return true;
	return false;
}

void
stream_own_end(int id, bool commit)
{
	if (writers[id].drawn != 0)
		writer_insert(id);
	writer_end(id, commit);
}

/* The group that applies the event, or -1. */
int
group_of(int number)
{
	int			aggregate = events[number].aggregate;

	return aggregate == FOREIGN ? -1 : aggregate % GROUPS;
}
