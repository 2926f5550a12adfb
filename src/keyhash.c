/*
 * keyhash.c
 *		The hash of a partition key.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"

#include "encoding.h"
#include "keyhash.h"

/* odd constants with well-mixed bits */
#define HASH_SEED		UINT64CONST(0x8F5D3B2A17C4E961)
#define HASH_MULTIPLIER UINT64CONST(0xD6E8FEB86659FD93)

static inline uint64
mix(uint64 hash)
{
	hash ^= hash >> 32;
	hash *= HASH_MULTIPLIER;
	hash ^= hash >> 32;
	return hash;
}

static uint64
hash_bytes_of(const char *key, int length)
{
	uint64		hash = HASH_SEED ^ (uint64) length;
	uint64		word;

	/* bytes in little-endian order everywhere */
	for (; length >= (int) sizeof(word); length -= sizeof(word))
	{
		memcpy(&word, key, sizeof(word));
#ifdef WORDS_BIGENDIAN
		word = pg_bswap64(word);
#endif
		hash = mix(hash ^ word);
		key += sizeof(word);
	}
	word = 0;
	for (int i = 0; i < length; i++)
		word |= (uint64) (unsigned char) key[i] << (8 * i);
	return mix(mix(hash ^ word));
}

/*
 * The hash of a partition key; its partition is the remainder by their
 * number.
 *
 * Positions are kept per partition and outlive the server: in a dump they may
 * come to another machine, release or encoding.  So this is a function of the
 * key's characters (in UTF-8) alone, and must never change.  A key that has no
 * characters, as its bytes are none in UTF-8, is hashed as it is: each key has
 * a hash.
 */
uint64
KeyHash(const char *key, int length)
{
	int			encoding = GetDatabaseEncoding();
	char	   *utf8;
	uint64		hash;

	/* of SQL_ASCII what is UTF-8 and what is not are hashed as they are */
	if (likely(encoding == PG_UTF8) || encoding == PG_SQL_ASCII ||
		TextIsAscii(key, length))
		return hash_bytes_of(key, length);
	utf8 = TextToUtf8(key, length);
	if (utf8 == NULL)
		return hash_bytes_of(key, length);
	hash = hash_bytes_of(utf8, strlen(utf8));
	pfree(utf8);
	return hash;
}
