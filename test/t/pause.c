/*
 * pause.c
 *		Places between the steps of a batch where a session can be stopped.
 *
 * 008_between.pl links this with the extension's own sources, the functions
 * below wrapped by the linker (--wrap).  A session stops at the place that its
 * setting pause.at names, for as long as somebody holds advisory lock 1.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

#include "notice.h"
#include "position/claims.h"
#include "position/gapwatch.h"
#include "stream/settle.h"

extern Settlement __wrap_Settle(const Stream *stream);
extern Settlement __real_Settle(const Stream *stream);
extern VirtualTransactionId *__wrap_GetLockConflicts(const LOCKTAG *tag,
													 LOCKMODE mode, int *count);
extern VirtualTransactionId *__real_GetLockConflicts(const LOCKTAG *tag,
													 LOCKMODE mode, int *count);
extern int64 __wrap_GapsFrom(const char *projection, const Stream *stream,
							 const PositionSets *sets);
extern int64 __real_GapsFrom(const char *projection, const Stream *stream,
							 const PositionSets *sets);
extern void __wrap_NoticeAppend(Oid stream, Datum type, Datum key);
extern void __real_NoticeAppend(Oid stream, Datum type, Datum key);
extern Buffer __wrap_ReadBuffer(Relation relation, BlockNumber block);
extern Buffer __real_ReadBuffer(Relation relation, BlockNumber block);
extern Claims __wrap_GroupsClaim(const Projection *projection,
								 const PositionSets *chosen, int max);
extern Claims __real_GroupsClaim(const Projection *projection,
								 const PositionSets *chosen, int max);

static void
pause_at(const char *place)
{
	const char *at = GetConfigOption("pause.at", true, false);

	if (at == NULL || strcmp(at, place) != 0)
		return;
	DirectFunctionCall1(pg_advisory_lock_int8, Int64GetDatum(1));
	DirectFunctionCall1(pg_advisory_unlock_int8, Int64GetDatum(1));
}

static bool settling = false;

Settlement
__wrap_Settle(const Stream *stream)
{
	Settlement	look;

	pause_at("before settling");
	settling = true;
	look = __real_Settle(stream);
	settling = false;
	pause_at("after settling");
	return look;
}

/* The sequence is read through this, and nothing else while settling. */
Buffer
__wrap_ReadBuffer(Relation relation, BlockNumber block)
{
	if (settling)
		pause_at("before reading the last number");
	return __real_ReadBuffer(relation, block);
}

/* The writers of the stream; locks on other things are not our business. */
VirtualTransactionId *
__wrap_GetLockConflicts(const LOCKTAG *tag, LOCKMODE mode, int *count)
{
	VirtualTransactionId *ids;
	bool		relation = tag->locktag_type == LOCKTAG_RELATION;

	if (relation)
		pause_at("before listing the writers");
	ids = __real_GetLockConflicts(tag, mode, count);
	if (relation)
		pause_at("after listing the writers");
	return ids;
}

int64
__wrap_GapsFrom(const char *projection, const Stream *stream,
				const PositionSets *sets)
{
	int64		from;

	pause_at("before looking at the gaps");
	from = __real_GapsFrom(projection, stream, sets);
	pause_at("after looking at the gaps");
	return from;
}

/* Between the look at the positions and the locks. */
Claims
__wrap_GroupsClaim(const Projection *projection, const PositionSets *chosen,
				   int max)
{
	pause_at("before locking partitions");
	return __real_GroupsClaim(projection, chosen, max);
}

/* Snapshots see what a writer has committed before its locks are given back. */
static void
at_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		pause_at("before giving back the locks");
}

void
__wrap_NoticeAppend(Oid stream, Datum type, Datum key)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(at_commit, NULL);
	registered = true;
	__real_NoticeAppend(stream, type, key);
}
