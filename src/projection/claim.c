/*
 * claim.c
 *		Which partitions a batch works on.
 *
 * First all positions are looked at, as they are committed, without any lock:
 * an idle projection costs no more than that.  Then some of them are claimed.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "keylock.h"
#include "projection/batch_state.h"
#include "projection/gapwatch.h"
#include "projection/trouble.h"

/* how often another group of partitions is tried where one is taken */
#define CLAIM_TRIES 4

/* all partitions, however far apart */
static const ChoiceRule no_rule = {0};

/* An error if the stream's numbers have begun again below the positions. */
void
BatchCheckForwards(const Batch *batch, const Claim *claims, int count,
				   int64 last_number)
{
	for (int i = 0; i < count; i++)
	{
		if (claims[i].position.head <= last_number)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the numbers of stream \"%s\" went backwards",
						batch->stream->name),
				 errdetail("The last number drawn is %lld, but projection \"%s\" has applied number %lld.",
						   (long long) last_number, batch->projection->name,
						   (long long) claims[i].position.head),
				 errhint("Set the sequence forward if it is behind the last event. Then run: SELECT projection_reset(%s); Events that were appended meanwhile are below the positions and would be left out otherwise.",
						 quote_literal_cstr(batch->projection->name))));
	}
}

/* Which of the candidates are to be claimed; returns how many. */
static int
batch_choose(Batch *batch)
{
	return PartitionsChoose(&batch->rule, batch->last_number,
							batch->with_gaps, batch->candidates,
							batch->candidate_count, batch->chosen);
}

/*
 * Look at the positions: which partitions could be claimed; false if there is
 * nothing to do in them.  Reads what is committed and locks nothing.
 */
bool
BatchLook(Batch *batch)
{
	const char *name = batch->projection->name;
	int			count;
	Claim	   *claims = PartitionsPeek(batch->projection, &count);
	ChoiceRule *rule = &batch->rule;

	batch->last_number = StreamLastNumber(batch->stream->parts.sequence);
	TroubleRaise(TroubleOfPositions(batch->projection, claims, count,
									batch->work.read_model));
	BatchCheckForwards(batch, claims, count, batch->last_number);
	TroubleRaise(TroubleOfNumbers(batch->stream->name, batch->stream->relation,
								  batch->stream->parts.sequence,
								  batch->stream->parts.number_index));
	batch->chosen = palloc_array(Claim, count);
	/* what others cannot apply, we cannot either */
	if (batch->limits->choice.help && batch->projection->last_error != NULL)
		return false;
	if (batch->projection->last_error != NULL)
		batch->nothing_left =
			PartitionsChoose(&no_rule, batch->last_number,
							 !GapsUnchanged(name, claims, count), claims,
							 count, batch->chosen) == 0;
	*rule = batch->limits->choice;
	if (rule->window == CHOICE_WINDOW)
		rule->window = batch->projection->batch_size;
	batch->far_behind = PartitionsFarBehind(rule, batch->last_number, claims,
											count, &batch->help_wanted);
	batch->candidates = claims;
	batch->candidate_count = PartitionsFilter(rule, batch->last_number,
											  claims, count);
	batch->with_gaps = !GapsUnchanged(name, claims, batch->candidate_count);
	return batch_choose(batch) > 0;
}

/* How many partitions to claim. */
static int
batch_share(Batch *batch)
{
	const char *name = batch->projection->name;
	int			workers = batch->rule.of;
	int64		behind = batch->last_number - batch->chosen[0].position.head;
	int			consumers;

	if (batch->limits->partitions > 0)
		return batch->limits->partitions;
	if (workers > 0 && behind <= batch->rule.window)
		return batch->candidate_count;
	if (workers > 0)
		return (Max(batch->far_behind, 1) + workers - 1) / workers;
	consumers = KeyLockOthers(KEYLOCK_PRESENCE, name) + 1;
	return (batch->projection->partitions + consumers - 1) / consumers;
}

/*
 * claim: lock partitions; false if others hold them.  Where all that stand
 * near each other are taken, those whose turn comes next are tried.
 */
bool
BatchClaim(Batch *batch)
{
	KeyLock(KEYLOCK_PRESENCE, batch->projection->name, ShareLock);
	for (int tries = 0; tries < CLAIM_TRIES; tries++)
	{
		int			chosen = batch_choose(batch);

		batch->claims = PartitionsClaim(batch->projection, batch->chosen,
										chosen, batch_share(batch));
		if (batch->claims.count > 0 || chosen == batch->candidate_count)
			break;
		PartitionsRelease(&batch->claims);
		batch->claims.catalog = NULL;
		batch->rule.turn++;
	}
	if (batch->claims.count == 0)
		return false;
	batch->claim_of = palloc0_array(Claim *, batch->projection->partitions);
	batch->low = batch->claims.claims[0].position.head;
	for (int i = 0; i < batch->claims.count; i++)
	{
		Claim	   *claim = &batch->claims.claims[i];

		batch->claim_of[claim->partition] = claim;
	}
	return true;
}
