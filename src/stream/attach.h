/*
 * attach.h
 *		Tables of any columns made streams.
 */
#ifndef WALLET_PROJECTION_ATTACH_H
#define WALLET_PROJECTION_ATTACH_H

#include "stream/stream.h"

extern char *StreamOfTable(Oid relid);
extern char *StreamAttachFor(Oid relid);

/* named.c */
extern Oid	StreamTableNamed(const char *name);
extern char *StreamFullName(Oid relid);
extern char *StreamOfTableInPath(const char *table);

/* guard.c */
extern void GuardByIdentity(Oid relid, const StreamParts *parts);

#endif							/* WALLET_PROJECTION_ATTACH_H */
