/*
 * claim.c
 *		Which partitions a batch works on.
 *
 * First all positions are looked at, as they are committed, without any lock:
 * an idle projection costs no more than that.  Then some of them are claimed.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "batch/batch_state.h"
#include "keylock.h"
#include "position/gapwatch.h"
#include "position/members.h"
#include "position/trouble.h"

/* how often another group of partitions is tried where one is taken */
#define CLAIM_TRIES 4

/* all partitions, however far apart */
static const ChoiceRule no_rule = {0};

/* An error if the stream's numbers have begun again below the positions. */
void
BatchCheckForwards(const Batch *batch, const Positions *positions,
				   int64 last_number)
{
	int64		highest = PositionsHighest(positions);

	if (highest <= last_number)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the numbers of stream \"%s\" went backwards",
					batch->stream->name),
			 errdetail("The last number drawn is %lld, but projection \"%s\" has applied number %lld.",
					   (long long) last_number, batch->projection->name,
					   (long long) highest),
			 errhint("Set the sequence forward if it is behind the last event. Then run: SELECT projection_reset(%s); Events that were appended meanwhile are below the positions and would be left out otherwise.%s",
					 quote_literal_cstr(batch->projection->name),
					 batch->projection->declared == NULL ? "" :
					 " A projection that began with start_at => 'now' is dropped and created again instead.")));
}

/* Which of the candidates are to be claimed. */
static PositionSets
batch_choose(const Batch *batch)
{
	return GroupsChoose(&batch->reach.rule, batch->reach.last_number, batch->reach.gaps_from,
						&batch->reach.candidates);
}

/* Is nothing left to do in any partition? */
static bool
is_nothing_left(const Batch *batch, const PositionSets *sets)
{
	int64		gaps_from = GapsFrom(batch->projection->name, batch->stream,
									 sets);

	return GroupsChoose(&no_rule, batch->reach.last_number, gaps_from,
						sets).count == 0;
}

/*
 * Look at the positions: which partitions could be claimed; false if there is
 * nothing to do in them.  Reads what is committed and locks nothing.
 */
bool
BatchLook(Batch *batch)
{
	Positions	positions = PositionsRead(batch->projection);
	ChoiceRule *rule = &batch->reach.rule;

	batch->reach.last_number = StreamLastNumber(batch->stream->parts.sequence);
	TroubleRaise(TroubleOfPositions(batch->projection, &positions,
									batch->work.read_model));
	BatchCheckForwards(batch, &positions, batch->reach.last_number);
	TroubleRaise(TroubleOfNumbers(batch->stream->name, batch->stream->relation,
								  &batch->stream->parts));
	TroubleRaise(TroubleOfMembers(batch->projection, batch->stream->relation,
								  &batch->stream->parts, &positions));
	/* what others cannot apply, we cannot either */
	if (batch->limits->choice.steal && batch->projection->last_error != NULL)
		return false;
	if (batch->projection->last_error != NULL)
		batch->reach.nothing_left = is_nothing_left(batch, &positions.sets);
	*rule = batch->limits->choice;
	if (rule->window == CHOICE_WINDOW)
		rule->window = batch->projection->batch_size;
	batch->reach.far_behind = GroupsFarBehind(rule, batch->reach.last_number,
											  &positions.sets, &batch->reach.steal_wanted);
	batch->reach.candidates = GroupsFilter(rule, batch->reach.last_number, &positions.sets);
	batch->reach.gaps_from = GapsFrom(batch->projection->name, batch->stream,
									  &batch->reach.candidates);
	if (batch_choose(batch).count > 0)
		return true;
	/* no position is saved that would say which partitions it is of */
	MembersKeep(batch->projection, batch->stream);
	return false;
}

/* How many groups to claim. */
static int
batch_share(Batch *batch, const PositionSets *chosen)
{
	const char *name = batch->projection->name;
	int			groups = GroupsOf(batch->projection->partitions);
	int			workers = batch->reach.rule.of;
	int64		behind = batch->reach.last_number - chosen->sets[0].position.head;
	int			consumers;

	if (batch->limits->partitions > 0)
		return GroupsAtMost(batch->projection->partitions,
							batch->limits->partitions);
	if (workers > 0 && behind <= batch->reach.rule.window)
		return groups;
	if (workers > 0)
		return (Max(batch->reach.far_behind, 1) + workers - 1) / workers;
	consumers = KeyLockOthers(KEYLOCK_PRESENCE, name) + 1;
	return (groups + consumers - 1) / consumers;
}

/*
 * claim: lock groups of partitions; false if others hold them.  Where all that
 * stand near each other are taken, those whose turn comes next are tried.
 */
bool
BatchClaim(Batch *batch)
{
	KeyLock(KEYLOCK_PRESENCE, batch->projection->name, ShareLock);
	for (int tries = 0; tries < CLAIM_TRIES; tries++)
	{
		PositionSets chosen = batch_choose(batch);

		batch->reach.claims = GroupsClaim(batch->projection, &chosen,
										  batch_share(batch, &chosen));
		if (batch->reach.claims.groups != 0 ||
			chosen.count == batch->reach.candidates.count)
			break;
		ClaimsRelease(&batch->reach.claims);
		batch->reach.rule.start++;
	}
	if (batch->reach.claims.groups == 0)
		return false;
	TroubleRaise(TroubleOfPositions(batch->projection, &batch->reach.claims.all,
									batch->work.read_model));
	for (int i = 0; i < batch->reach.claims.sets.count; i++)
	{
		const PositionSet *set = &batch->reach.claims.sets.sets[i];

		for (int group = 0; group < GROUPS_MAX; group++)
		{
			if ((set->groups & GroupBit(group)) != 0)
				batch->reach.position_of[group] = &set->position;
		}
	}
	batch->reach.low = batch->reach.claims.sets.sets[0].position.head;
	return true;
}

/* The position of the keys of this hash before the batch; NULL: not ours. */
const Position *
BatchPositionOf(const Batch *batch, uint64 hash)
{
	int			partition = hash % batch->projection->partitions;

	return batch->reach.position_of[GroupOf(partition, batch->groups)];
}
