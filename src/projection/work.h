/*
 * work.h
 *		A projection opened to be worked on.
 */
#ifndef WALLET_PROJECTION_WORK_H
#define WALLET_PROJECTION_WORK_H

#include "projection/projection.h"

typedef struct Work
{
	const struct Work *outer;	/* whose trigger has begun this one */
	Projection *projection;
	Stream	   *stream;
	Relation	read_model;
	OwnerScope	owner;
} Work;

typedef enum WorkLock
{
	WORK_LOCKED,
	WORK_BUSY,					/* somebody has it exclusively */
	WORK_STOPPED				/* nobody wants it to run */
} WorkLock;

extern void WorkCheckTransaction(const char *command);
extern WorkLock WorkLockProjection(const char *name, bool as_worker);
extern void WorkCheckStream(const Projection *projection,
							const Stream *stream);
extern void WorkOpen(Work *work, const char *name);
extern void WorkBegin(Work *work);
extern void WorkEnd(Work *work);
extern void WorkClose(Work *work);

#endif							/* WALLET_PROJECTION_WORK_H */
