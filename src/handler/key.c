/*
 * key.c
 *		Keys of declared projections: what orders and isolates their events.
 *
 * The partition hash outlives the process and the server: positions are kept
 * per partition.  Texts, integers and uuids are hashed by what they say
 * (keyhash.c); other types by PostgreSQL's own extended hash functions, which
 * hash partitioning relies on as well.  These take an enum's label for the OID
 * that it has in this database, which a restore changes: labels are hashed by
 * their texts.  Where equality depends on a collation's provider the hash
 * would change with the provider's version, and where a value names an object
 * by its OID it means nothing elsewhere: such a column does not enter the
 * partition hash (keyhashing.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "lib/stringinfo.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "handler/key.h"
#include "keyhash.h"
#include "merge/pinned.h"

static void
make_column(KeyColumn *column, Oid type, int32 typmod, Oid collation,
			Oid equality)
{
	MemoryContext context = CurrentMemoryContext;
	TypeCacheEntry *cache = lookup_type_cache(type,
											  TYPECACHE_HASH_EXTENDED_PROC_FINFO);
	bool		is_varlena;
	Oid			function;

	column->type = type;
	column->typmod = typmod;
	column->collation = collation;
	get_typlenbyval(type, &column->typlen, &column->typbyval);
	fmgr_info_cxt(get_opcode(equality), &column->equal, context);
	if (!OidIsValid(cache->hash_extended_proc))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify an extended hash function for type %s",
						format_type_be(type))));
	fmgr_info_cxt(cache->hash_extended_proc, &column->hash, context);
	getTypeInputInfo(type, &function, &column->input_param);
	fmgr_info_cxt(function, &column->input, context);
	getTypeOutputInfo(type, &function, &is_varlena);
	fmgr_info_cxt(function, &column->output, context);
	column->hashing = KeyHashingOf(type, collation);
}

/*
 * What a key of these columns is, in the current memory context; equality: the
 * operators that compare them.
 */
KeyType *
KeyTypeMake(int ncolumns, const Oid *types, const int32 *typmods,
			const Oid *collations, const Oid *equality)
{
	KeyType    *type = palloc0(offsetof(KeyType, columns) +
							   ncolumns * sizeof(KeyColumn));

	type->ncolumns = ncolumns;
	for (int i = 0; i < ncolumns; i++)
		make_column(&type->columns[i], types[i], typmods[i], collations[i],
					equality[i]);
	return type;
}

/* How many bytes a value takes in an image. */
static Size
value_size(const KeyColumn *column, Datum value)
{
	if (column->typbyval)
		return sizeof(Datum);
	return MAXALIGN(datumGetSize(value, false, column->typlen));
}

/*
 * How large the image of a key is.  No value is toasted: who has made it sees
 * to that.
 */
Size
KeyImageSize(const KeyType *type, const Datum *key)
{
	Size		size = 0;

	for (int i = 0; i < type->ncolumns; i++)
		size += value_size(&type->columns[i], key[i]);
	return size;
}

/* Write the image of a key; bytes between values are zero. */
void
KeyImageStore(const KeyType *type, const Datum *key, char *image)
{
	for (int i = 0; i < type->ncolumns; i++)
	{
		const KeyColumn *column = &type->columns[i];
		Size		size;

		if (column->typbyval)
		{
			memcpy(image, &key[i], sizeof(Datum));
			image += sizeof(Datum);
			continue;
		}
		size = datumGetSize(key[i], false, column->typlen);
		memcpy(image, DatumGetPointer(key[i]), size);
		memset(image + size, 0, MAXALIGN(size) - size);
		image += MAXALIGN(size);
	}
}

/* The datums of an image; those by reference point into it. */
void
KeyImageRead(const KeyType *type, const char *image, Datum *key)
{
	for (int i = 0; i < type->ncolumns; i++)
	{
		const KeyColumn *column = &type->columns[i];

		if (column->typbyval)
			memcpy(&key[i], image, sizeof(Datum));
		else
			key[i] = PointerGetDatum(image);
		image += value_size(column, key[i]);
	}
}

static uint64
hash_bytes_of_value(const KeyColumn *column, Datum value)
{
	struct varlena *string = (struct varlena *) DatumGetPointer(value);
	uint64		number;

	switch (column->hashing)
	{
		case KEY_HASH_TEXT:
			return KeyHash(VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
		case KEY_HASH_UUID:
			return KeyHash((const char *) DatumGetUUIDP(value)->data, UUID_LEN);
		default:
			number = column->typlen == 2 ? DatumGetInt16(value) :
				column->typlen == 4 ? DatumGetInt32(value) :
				DatumGetInt64(value);
#ifdef WORDS_BIGENDIAN
			number = pg_bswap64(number);
#endif
			return KeyHash((const char *) &number, sizeof(number));
	}
}

static uint64
hash_by_function(KeyColumn *column, Datum value)
{
	return DatumGetUInt64(FunctionCall2Coll(&column->hash, column->collation,
											value, Int64GetDatum(0)));
}

/* Equal values of these types have the same text, now and after a restore. */
static uint64
hash_by_output(KeyColumn *column, Datum value)
{
	char	   *string = OutputFunctionCall(&column->output, value);
	uint64		hash = KeyHash(string, strlen(string));

	pfree(string);
	return hash;
}

/* The hash of several columns out of the one so far and another's. */
static inline uint64
combine(uint64 hash, uint64 other)
{
	hash ^= other + UINT64CONST(0x9E3779B97F4A7C15) + (hash << 12) + (hash >> 4);
	hash *= UINT64CONST(0xD6E8FEB86659FD93);
	return hash ^ (hash >> 32);
}

static uint64
hash_value(KeyColumn *column, Datum value)
{
	switch (column->hashing)
	{
		case KEY_HASH_OUTPUT:
			return hash_by_output(column, value);
		case KEY_HASH_FUNCTION:
		case KEY_HASH_NONE:
			return hash_by_function(column, value);
		default:
			return hash_bytes_of_value(column, value);
	}
}

/* The hashes of a key. */
KeyHashes
KeyHashesOf(KeyType *type, const Datum *key)
{
	KeyHashes	hashes = {0};

	for (int i = 0; i < type->ncolumns; i++)
	{
		KeyColumn  *column = &type->columns[i];
		uint64		hash;

		hash = hash_value(column, key[i]);
		hashes.place = i == 0 ? hash : combine(hashes.place, hash);
		if (column->hashing == KEY_HASH_NONE)
			continue;
		hashes.partition = hashes.partition == 0 ? hash :
			combine(hashes.partition, hash);
	}
	return hashes;
}

/* Are these keys equal? */
bool
KeyEqual(KeyType *type, const Datum *a, const Datum *b)
{
	for (int i = 0; i < type->ncolumns; i++)
	{
		KeyColumn  *column = &type->columns[i];

		if (!DatumGetBool(FunctionCall2Coll(&column->equal, column->collation,
											a[i], b[i])))
			return false;
	}
	return true;
}

bool
KeyImagesEqual(KeyType *type, const char *a, const char *b)
{
	Datum		first[INDEX_MAX_KEYS];
	Datum		second[INDEX_MAX_KEYS];

	KeyImageRead(type, a, first);
	KeyImageRead(type, b, second);
	return KeyEqual(type, first, second);
}

/*
 * A number by which keys are put into about the order of their index; it
 * decides nothing but how fast rows are inserted.
 */
uint64
KeyRank(const KeyType *type, const char *image)
{
	const KeyColumn *column = &type->columns[0];
	Datum		value;
	uint64		rank = 0;

	if (column->typbyval)
	{
		memcpy(&value, image, sizeof(value));
		return (uint64) value ^ (UINT64CONST(1) << 63);
	}
	if (column->typlen == -1)
		memcpy(&rank, VARDATA_ANY(image),
			   Min(VARSIZE_ANY_EXHDR(image), sizeof(rank)));
	else if (column->typlen >= (int) sizeof(rank))
		memcpy(&rank, image, sizeof(rank));
	return pg_ntoh64(rank);
}

/* The partition hash of a key in its image's form. */
uint64
KeyPartitionHash(KeyType *type, const char *image, int length)
{
	Datum		key[INDEX_MAX_KEYS];

	if (type == NULL)
		return KeyHash(image, length);
	KeyImageRead(type, image, key);
	return KeyHashesOf(type, key).partition;
}

/* A column's text within a row's: quoted where it has to be. */
static void
append_quoted(StringInfo string, const char *value)
{
	bool		quoted = value[0] == '\0' ||
		strpbrk(value, "\"\\(), \t\n\r\v\f") != NULL;

	if (quoted)
		appendStringInfoChar(string, '"');
	for (const char *at = value; *at != '\0'; at++)
	{
		if (*at == '"' || *at == '\\')
			appendStringInfoChar(string, *at);
		appendStringInfoChar(string, *at);
	}
	if (quoted)
		appendStringInfoChar(string, '"');
}

/*
 * Texts are written and read under settings that lose nothing: a time zone's
 * abbreviation may mean another zone when it is read.  PinnedLeave() ends it.
 */
int
KeyTextEnter(void)
{
	static PinnedValue settings[] = {
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"bytea_output", "hex"},
		{"extra_float_digits", "1"}
	};

	return PinnedEnterThese(settings, lengthof(settings));
}

static char *
text_of(KeyType *type, const char *image)
{
	StringInfoData string;
	Datum		key[INDEX_MAX_KEYS];

	KeyImageRead(type, image, key);
	if (type->ncolumns == 1)
		return OutputFunctionCall(&type->columns[0].output, key[0]);
	initStringInfo(&string);
	for (int i = 0; i < type->ncolumns; i++)
	{
		appendStringInfoChar(&string, i == 0 ? '(' : ',');
		append_quoted(&string, OutputFunctionCall(&type->columns[i].output, key[i]));
	}
	appendStringInfoChar(&string, ')');
	return string.data;
}

/* A key as people read it, and as the catalog keeps it. */
char *
KeyText(KeyType *type, const char *image, int length)
{
	char	   *string;
	int			level;

	if (type == NULL)
		return pnstrdup(image, length);
	level = KeyTextEnter();
	string = text_of(type, image);
	PinnedLeave(level);
	return string;
}

/* Take the next value out of a row's text; NULL: there is none. */
static char *
next_value(const char **at)
{
	StringInfoData value;
	bool		quoted = false;

	initStringInfo(&value);
	for (; **at != '\0'; (*at)++)
	{
		char		c = **at;

		if (!quoted && (c == ',' || c == ')'))
		{
			(*at)++;
			return value.data;
		}
		if (c == '"' && quoted && (*at)[1] == '"')
			(*at)++;
		else if (c == '"')
		{
			quoted = !quoted;
			continue;
		}
		else if (c == '\\' && (*at)[1] != '\0')
			(*at)++;
		appendStringInfoChar(&value, **at);
	}
	return NULL;
}

/* The datums of a key whose text this is. */
static void
read_text(KeyType *type, const char *string, Datum *key)
{
	const char *at = string + 1;

	for (int i = 0; i < type->ncolumns; i++)
	{
		KeyColumn  *column = &type->columns[i];
		char	   *value = type->ncolumns == 1 ? unconstify(char *, string) :
			string[0] == '(' ? next_value(&at) : NULL;

		if (value == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("\"%s\" is not a key of %d columns", string,
							type->ncolumns),
					 errhint("Write it as a row: (first,second).")));
		key[i] = InputFunctionCall(&column->input, value, column->input_param,
								   column->typmod);
	}
}

/*
 * The image of a key whose text this is; an error if the text is none.
 * length: of the image.
 */
char *
KeyFromText(KeyType *type, const char *string, int *length)
{
	Datum		key[INDEX_MAX_KEYS];
	char	   *image;
	int			level;

	if (type == NULL)
	{
		*length = strlen(string);
		return pstrdup(string);
	}
	level = KeyTextEnter();
	read_text(type, string, key);
	PinnedLeave(level);
	*length = (int) KeyImageSize(type, key);
	image = palloc0(*length);
	KeyImageStore(type, key, image);
	return image;
}
