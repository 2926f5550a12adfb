/*
 * claims.c
 *		Who works on which partitions.
 *
 * Partitions are claimed by groups, each of which is a lock.  The lock is the
 * lease: it lasts until the transaction ends and dies with it, so there is no
 * time-out; PREPARE keeps it.  Nothing is written for it.  Positions are read
 * after the locks are granted: whoever had a lock gave it back after his commit
 * was visible.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "keylock.h"
#include "position/claims.h"

/* Open the catalog and read what the claimed groups have. */
static void
read_claimed(const Projection *projection, Claims *claims)
{
	claims->all = PositionsRead(projection);
	claims->sets = SetsClaimed(&claims->all.sets, claims->groups);
}

/*
 * Claim up to max of the groups of these sets, in their order, leaving out
 * those that somebody else holds.  They are ours until the transaction ends.
 */
Claims
GroupsClaim(const Projection *projection, const PositionSets *chosen, int max)
{
	Claims		claims = {0};
	int			count = 0;

	claims.catalog = CatalogOpen(POSITION_CATALOG, RowExclusiveLock);
	claims.partitions = projection->partitions;
	for (int i = 0; i < chosen->count; i++)
	{
		for (int group = 0; group < GROUPS_MAX && count < max; group++)
		{
			if ((chosen->sets[i].groups & GroupBit(group)) != 0 &&
				KeyLockPartIfFree(KEYLOCK_CLAIM, projection->name, group))
			{
				claims.groups |= GroupBit(group);
				count++;
			}
		}
	}
	if (claims.groups != 0)
		read_claimed(projection, &claims);
	return claims;
}

/* Claim this partition's group; wait: as long as others hold it. */
Claims
GroupClaim(const Projection *projection, int partition, bool wait)
{
	Claims		claims = {0};
	int			group = GroupOf(partition, GroupsOf(projection->partitions));

	claims.catalog = CatalogOpen(POSITION_CATALOG, RowExclusiveLock);
	claims.partitions = projection->partitions;
	if (wait)
		KeyLockPart(KEYLOCK_CLAIM, projection->name, group);
	else if (!KeyLockPartIfFree(KEYLOCK_CLAIM, projection->name, group))
		return claims;
	claims.groups = GroupBit(group);
	read_claimed(projection, &claims);
	return claims;
}

/*
 * Write down the new positions of claimed sets; written: rows were written to
 * the read model.
 */
void
ClaimsSave(const Projection *projection, Claims *claims, PositionSets *saved,
		   bool written)
{
	LaneSave(projection, claims->catalog, &claims->all, claims->groups, saved,
			 written || claims->all.written);
}

/*
 * Remember, where positions stay as they are, that rows were written to the
 * read model.
 */
void
ClaimsWritten(const Projection *projection, Claims *claims)
{
	PositionSets same;

	if (claims->all.written)
		return;
	/* an event of several keys has several claims, which may share rows */
	claims->all = PositionsRead(projection);
	same = SetsClaimed(&claims->all.sets, claims->groups);
	if (!claims->all.written && same.count > 0)
		ClaimsSave(projection, claims, &same, true);
}

/* Close what GroupsClaim() opened; the locks stay. */
void
ClaimsRelease(Claims *claims)
{
	table_close(claims->catalog, NoLock);
	claims->catalog = NULL;
}
