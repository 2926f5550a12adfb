/*
 * opened.h
 *		A projection opened to be worked on.
 */
#ifndef WALLET_PROJECTION_OPENED_H
#define WALLET_PROJECTION_OPENED_H

#include "definition/compiled.h"

typedef struct OpenProjection
{
	const struct OpenProjection *outer; /* whose trigger has begun this one */
	Projection *projection;
	Stream	   *stream;
	Relation	read_model;
	OwnerScope	owner;
	Sink		sink;
	Compiled   *compiled;		/* of a declared projection; or NULL */
	int			settings;		/* nest level of those that it was created
								 * with */
} OpenProjection;

typedef enum SharedLock
{
	SHARED_LOCKED,
	SHARED_BUSY,				/* somebody has it exclusively */
	SHARED_STOPPED				/* nobody wants it to run */
} SharedLock;

extern void OpenedCheckTransaction(const char *command);
extern SharedLock ProjectionLockShared(const char *name, bool as_worker);
extern void OpenedCheckStream(const Projection *projection,
							  const Stream *stream);
extern void OpenedOpen(OpenProjection *work, const char *name);
extern void OpenedOpenToRead(OpenProjection *work, const char *name);
extern void OpenedBegin(OpenProjection *work);
extern void OpenedEnd(OpenProjection *work);
extern bool OpenedKeepsRows(const OpenProjection *work);
extern void OpenedClose(OpenProjection *work);

#endif							/* WALLET_PROJECTION_OPENED_H */
