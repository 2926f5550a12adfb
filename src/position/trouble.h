/*
 * trouble.h
 *		What makes it untrue that a read model equals the events.
 */
#ifndef WALLET_PROJECTION_TROUBLE_H
#define WALLET_PROJECTION_TROUBLE_H

#include "position/lanes.h"
#include "stream/stream.h"

/* Something that was found; raised by a batch, and shown by the status. */
typedef struct Trouble
{
	int			sqlerrcode;
	const char *message;
	const char *detail;			/* or NULL */
	const char *hint;			/* or NULL */
} Trouble;

/* Each returns NULL where all is well. */
extern Trouble *TroubleOfReadModel(const Projection *projection);
extern Trouble *TroubleOfTable(const Projection *projection,
							   Relation read_model);
extern Trouble *TroubleOfPositions(const Projection *projection,
								   const Positions *positions,
								   Relation read_model);
extern Trouble *TroubleOfForeignRows(const Projection *projection,
									 Relation read_model);
extern Trouble *TroubleOfStream(const char *name, Oid relid);
extern Trouble *TroubleOfNumber(const char *stream, Oid sequence,
								int64 number);
extern Trouble *TroubleOfNumbers(const char *stream, Relation relation,
								 const StreamParts *parts);

extern void TroubleRaise(const Trouble *trouble);
extern char *TroubleText(const Trouble *trouble);

#endif							/* WALLET_PROJECTION_TROUBLE_H */
