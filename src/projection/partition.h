/*
 * partition.h
 *		Partitions: which key belongs where, and who works on it.
 */
#ifndef WALLET_PROJECTION_PARTITION_H
#define WALLET_PROJECTION_PARTITION_H

#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "catalog_row.h"
#include "projection/position.h"
#include "projection/projection.h"

#define PARTITIONS_MAX 1024

/* One partition whose row this transaction has locked. */
typedef struct Claim
{
	int			partition;
	ItemPointerData tid;		/* of its row */
	Position	position;
	bool		written;		/* rows were written to the read model */
} Claim;

typedef struct Claims
{
	Relation	catalog;
	int			count;
	Claim	   *claims;			/* in order of their heads */
} Claims;

extern Datum NumberSetToDatum(const NumberSet *set);
extern bool NumberSetFromDatum(Datum datum, int64 last, NumberSet *set);
extern void PartitionsCreate(const Projection *projection);
extern void PartitionsDrop(const Projection *projection);
extern CatalogDamage *PartitionsDamage(const Projection *projection);
extern Claim *PartitionsPeek(const Projection *projection, int *count);
extern Claims PartitionsClaim(const Projection *projection,
							  const Claim *chosen, int count, int max);
extern Claims PartitionClaim(const Projection *projection, int partition,
							 bool wait);
extern void PartitionSave(const Projection *projection, Claims *claims,
						  Claim *claim, const Position *position);
extern void PartitionWritten(const Projection *projection, Claims *claims,
							 Claim *claim);
extern void PartitionsRelease(Claims *claims);

#endif							/* WALLET_PROJECTION_PARTITION_H */
