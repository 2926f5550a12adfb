/*
 * shadow.h
 *		Keys and their rows, in memory.
 *
 * Whatever is in it is counted: ShadowMemory() says what it takes.
 */
#ifndef WALLET_PROJECTION_SHADOW_H
#define WALLET_PROJECTION_SHADOW_H

#include "access/htup.h"
#include "executor/tuptable.h"
#include "handler/key.h"

typedef struct Shadow Shadow;

typedef enum ShadowState
{
	SHADOW_NO_ROW,
	SHADOW_ROW,
	SHADOW_FAULT				/* an event cannot be folded */
} ShadowState;

typedef struct ShadowEntry
{
	union
	{
		MinimalTuple row;		/* if SHADOW_ROW */
		char	   *fault;		/* if SHADOW_FAULT */
	}			u;
	uint32		hash;
	int32		length;
	uint8		state;			/* a ShadowState */
	bool		met;			/* the table has a row of the key */
	char		key[FLEXIBLE_ARRAY_MEMBER] pg_attribute_aligned(MAXIMUM_ALIGNOF);
} ShadowEntry;

/* Where a walk through all entries is; begin with zeros. */
typedef struct ShadowCursor
{
	uint32		cur;			/* of simplehash's iterator */
	uint32		end;
	bool		begun;
	bool		done;
} ShadowCursor;

extern Shadow *ShadowBegin(KeyType *type);
extern void ShadowUse(Shadow *shadow, KeyType *type);
extern ShadowEntry *ShadowFind(Shadow *shadow, const char *key, int length,
							   uint32 hash);
extern ShadowEntry *ShadowMake(Shadow *shadow, const char *key, int length,
							   uint32 hash);
extern ShadowEntry *ShadowAdd(Shadow *shadow, const char *key, int length,
							  uint32 hash);
extern void ShadowExpect(Shadow *shadow, int64 keys);
extern void ShadowSetRow(Shadow *shadow, ShadowEntry *entry,
						 TupleTableSlot *row);
extern void ShadowSetFault(Shadow *shadow, ShadowEntry *entry,
						   const char *fault);
extern void ShadowDrop(Shadow *shadow, ShadowEntry *entry);
extern void ShadowKeepUpTo(Shadow *shadow, uint32 last);
extern void ShadowForgetRows(Shadow *shadow);
extern ShadowEntry *ShadowNext(Shadow *shadow, ShadowCursor *cursor);
extern int64 ShadowCount(const Shadow *shadow);
extern Size ShadowMemory(const Shadow *shadow);
extern void ShadowEnd(Shadow *shadow);

#endif							/* WALLET_PROJECTION_SHADOW_H */
