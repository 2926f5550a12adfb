/*
 * key.h
 *		Keys of declared projections: what orders and isolates their events.
 *
 * A key has one or more columns, each of any type that can be hashed, and is
 * compared by the equality of the read model's unique index.  It has three
 * forms:
 *
 *	datums	one per column, as expressions make them
 *	image	the same in one piece of memory, aligned: what a batch keeps.
 *			Equal keys may have different images (1.0 and 1.00)
 *	text	for people, and for the catalog: the column's text, or those of
 *			several in the form of a row
 *
 * The key of a native projection is the aggregate's id: there is no KeyType
 * then, and image and text are the same bytes.
 */
#ifndef WALLET_PROJECTION_KEY_H
#define WALLET_PROJECTION_KEY_H

#include "access/attnum.h"
#include "fmgr.h"

/* How a column's values are hashed to choose the partition. */
typedef enum KeyHashing
{
	KEY_HASH_TEXT,				/* by their characters, as an aggregate's id */
	KEY_HASH_INTEGER,			/* as a bigint */
	KEY_HASH_UUID,				/* by their bytes */
	KEY_HASH_FUNCTION,			/* by the type's extended hash function */
	KEY_HASH_OUTPUT,			/* by their texts: labels of enums */
	KEY_HASH_NONE				/* not at all: equality depends on a
								 * collation's provider, or on OIDs */
} KeyHashing;

typedef struct KeyColumn
{
	Oid			type;
	int32		typmod;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	KeyHashing	hashing;
	FmgrInfo	equal;
	FmgrInfo	hash;			/* extended */
	FmgrInfo	input;
	Oid			input_param;
	FmgrInfo	output;
} KeyColumn;

typedef struct KeyType
{
	int			ncolumns;
	KeyColumn	columns[FLEXIBLE_ARRAY_MEMBER];
} KeyType;

/* The hashes of a key. */
typedef struct KeyHashes
{
	uint64		partition;		/* chooses the partition; never changes */
	uint64		place;			/* its place in this process's tables */
} KeyHashes;

extern KeyHashing KeyHashingOf(Oid type, Oid collation);
extern KeyType *KeyTypeMake(int ncolumns, const Oid *types,
							const int32 *typmods, const Oid *collations,
							const Oid *equality);
extern Size KeyImageSize(const KeyType *type, const Datum *key);
extern void KeyImageStore(const KeyType *type, const Datum *key, char *image);
extern void KeyImageRead(const KeyType *type, const char *image, Datum *key);
extern KeyHashes KeyHashesOf(KeyType *type, const Datum *key);
extern bool KeyEqual(KeyType *type, const Datum *a, const Datum *b);
extern bool KeyImagesEqual(KeyType *type, const char *a, const char *b);
extern uint64 KeyRank(const KeyType *type, const char *image);

/* both forms of key: type NULL is a native one */
extern uint64 KeyPartitionHash(KeyType *type, const char *image, int length);
extern int	KeyTextEnter(void);
extern char *KeyText(KeyType *type, const char *image, int length);
extern char *KeyFromText(KeyType *type, const char *text, int *length);

#endif							/* WALLET_PROJECTION_KEY_H */
