/*
 * parked.c
 *		Which keys are certainly not parked, as src/parking/parkedset.c has
 *		it: that file needs the server.
 *
 * A key is an aggregate.  It makes no difference to the model what becomes of
 * a parked key's events; but a batch that sees by what it remembers that a key
 * is not parked must be right.
 */
#include "postgres.h"

#include "support.h"
#include "consumer.h"

void
parked_forget(Consumer *consumer)
{
	consumer->parked_read = false;
	consumer->parked_count = 0;
}

static bool
has_row(const Consumer *consumer, const RowMark *row)
{
	for (int i = 0; i < consumer->parked_count; i++)
		if (SameRow(&consumer->parked_rows[i], row))
			return true;
	return false;
}

/* Are all known?  If not, read them, or look up each key. */
void
parked_open(Batch *batch)
{
	Consumer   *consumer = batch->consumer;

	batch->parked_known = consumer->parked_read;
	for (int i = 0; i < batch->count && mutation != PARKED_REMEMBERED; i++)
		if (!has_row(consumer, &batch->trips[i].before.mark))
			batch->parked_known = false;
	if (!batch->parked_known && random_chance(50))
	{
		batch->parked_known = consumer->parked_read = true;
		consumer->may_be_parked = consumer->view.parked;
		consumer->parked_count = 0;
		/* our transaction may have freed keys; these rows stay without it */
		for (int i = 0; i < batch->count && mutation == PARKED_KNOWN_TOO_EARLY; i++)
			consumer->parked_rows[consumer->parked_count++] =
				batch->trips[i].before.mark;
	}
}

/* A replay: keys of claimed groups are freed, and no position changes. */
void
parked_replay(Batch *batch)
{
	const Consumer *consumer = batch->consumer;

	for (int key = 0; key < FOREIGN; key++)
		if ((consumer->claimed & GroupBit(key % GROUPS)) != 0 &&
			random_chance(50))
			batch->change.freed |= consumer->view.parked & 1u << key;
	batch->change.claimed = consumer->claimed;
	batch->change.lane = -1;
}

void
parked_check(const Batch *batch, int key)
{
	const Consumer *consumer = batch->consumer;

	if (batch->parked_known && (consumer->view.parked & 1u << key) != 0 &&
		(consumer->may_be_parked & 1u << key) == 0)
		broken = "an event of a parked key was applied";
}

/* Keys of saved groups are parked; what is known holds for the new rows. */
void
parked_save(Batch *batch, uint64 saved)
{
	Consumer   *consumer = batch->consumer;
	const Lane *version = &batch->change.version;
	RowMark		rows[GROUPS];
	int			count = 0;

	for (int key = 0; key < FOREIGN; key++)
		if ((saved & GroupBit(key % GROUPS)) != 0 && random_chance(10))
			batch->change.parked |= 1u << key;
	consumer->may_be_parked |= batch->change.parked;
	if (!batch->parked_known)
		return;
	for (int i = 0; i < batch->count; i++)
		if ((batch->trips[i].before.groups & saved) == 0 &&
			has_row(consumer, &batch->trips[i].before.mark))
			rows[count++] = batch->trips[i].before.mark;
	for (int i = 0; i < version->count; i++)
		if ((version->sets[i].set.groups & saved) != 0)
			rows[count++] = version->sets[i].set.mark;
	memcpy(consumer->parked_rows, rows, count * sizeof(RowMark));
	consumer->parked_count = count;
}
