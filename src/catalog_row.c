/*
 * catalog_row.c
 *		What a row of the extension's tables may hold.
 *
 * The bounds are those within which the code that uses a value is right; the
 * tables' own constraints are narrower in places, but a superuser may drop
 * them, and a dump may be restored without.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "catalog.h"
#include "catalog_row.h"

typedef enum ColumnKind
{
	BOOLEAN, INTEGER, BIGINT, DOUBLE, OIDS, TIME, UUID, GAPS, XIDS, OIDARRAY, TEXT, TEXTS,
	NAME						/* a text that fits into NAMEDATALEN */
} ColumnKind;

static const Oid types[] = {
	[BOOLEAN] = BOOLOID,[INTEGER] = INT4OID,[BIGINT] = INT8OID,
	[DOUBLE] = FLOAT8OID,[OIDS] = OIDOID,[TIME] = TIMESTAMPTZOID,
	[UUID] = UUIDOID,[GAPS] = INT8MULTIRANGEOID,[XIDS] = XID8ARRAYOID,[OIDARRAY] = OIDARRAYOID,[TEXT] = TEXTOID,
	[TEXTS] = TEXTARRAYOID,[NAME] = TEXTOID
};

typedef struct Column
{
	const char *name;
	ColumnKind	kind;
	bool		required;		/* it may not be null */
	int64		min;			/* of numbers */
	int64		max;			/* and, of texts, bytes; 0: no limit */
} Column;

#define INTEGER_MAX PG_INT32_MAX - 1	/* one may be added */
#define BIGINT_MAX PG_INT64_MAX / 2 /* a stream's numbers may be */
#define DELAY_MAX INT64CONST(366) * 24 * 3600 * 1000

/* a column that may be null, or must not; and whose value lies within bounds */
#define MAY(name, kind) {name, kind, false, 0, 0}
#define MUST(name, kind) {name, kind, true, 0, 0}
#define MAY_LIE(name, kind, min, max) {name, kind, false, min, max}
#define MUST_LIE(name, kind, min, max) {name, kind, true, min, max}

#define TABLE_REF MAY("table_schema", NAME), MAY("table_name", NAME), \
	MAY("new_schema", NAME), MAY("new_name", NAME), MAY("installation", TEXT)

static const Column stream_columns[] = {
	MUST("name", NAME), MUST("relation", OIDS), TABLE_REF,
	MAY("position", NAME), MAY("guard", NAME)
};

static const Column projection_columns[] = {
	MUST("name", NAME), MUST("stream", NAME),
	MUST_LIE("aggregate_type", TEXT, 0, IDENTIFIER_LENGTH * 4),
	MUST("handler", NAME), MUST("channel", NAME),
	MUST_LIE("partitions", INTEGER, 1, 1024),
	MUST_LIE("batch_size", INTEGER, 1, 10000000), MAY("builtin", BOOLEAN)
};

static const Column definition_columns[] = {
	MUST("projection", NAME), MUST_LIE("kind", TEXT, 0, 16),
	MUST("definition", TEXT), MAY("key", TEXT), MAY_LIE("for_each", TEXT, 0, 16),
	MUST("settings", TEXTS), MUST("uses", TEXTS), MUST("columns", TEXTS),
	MUST_LIE("fingerprint", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MUST_LIE("ordering", TEXT, 0, 16), MUST("strict", BOOLEAN),
	MUST("allow_stable", BOOLEAN),
	MUST_LIE("start_head", BIGINT, 0, PG_INT64_MAX - 1), MUST("start_gaps", GAPS)
};

static const Column state_columns[] = {
	MUST("projection", NAME), MAY("channel", NAME),
	MAY_LIE("partitions", INTEGER, 1, 1024),
	MAY_LIE("batch_size", INTEGER, 1, 10000000),
	MAY("read_model", OIDS), MAY("relation", OIDS), MAY("last_error", TEXT),
	MAY_LIE("failures", INTEGER, 0, INTEGER_MAX), MAY("next_try", TIME),
	MAY_LIE("max_attempts", INTEGER, 1, 1000),
	MAY_LIE("retry_delay", BIGINT, 0, DELAY_MAX),
	MAY_LIE("retry_multiplier", DOUBLE, 1, 1000),
	MAY_LIE("retry_max_delay", BIGINT, 0, DELAY_MAX),
	MAY_LIE("retry_jitter", DOUBLE, 0, 1),
	MAY_LIE("max_parked", INTEGER, 0, 1000000), TABLE_REF,
	MAY("owner", OIDS), MAY("owner_name", NAME),
	MAY("stream_tables", OIDARRAY), MAY("rebuild_advised", TIME),
	MAY_LIE("verify_rate", INTEGER, 0, 1000000), MAY("drift", TEXT),
	MAY("failed_since", TIME)
};

static const Column position_columns[] = {
	MUST("projection", NAME), MUST_LIE("lane", INTEGER, 0, 63),
	MUST_LIE("version", BIGINT, 1, BIGINT_MAX),
	MUST_LIE("part", INTEGER, 0, 63), MUST_LIE("turn", BIGINT, 1, BIGINT_MAX),
	MUST_LIE("groups", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MUST_LIE("head", BIGINT, 0, PG_INT64_MAX), MUST("gaps", GAPS),
	MUST("written", BOOLEAN), MAY("old_blocks", GAPS),
	MAY_LIE("old_first", BIGINT, 1, PG_INT64_MAX),
	MAY_LIE("old_last", BIGINT, 1, PG_INT64_MAX),
	MAY_LIE("old_size", BIGINT, 1, PG_INT64_MAX), MAY("old_owners", XIDS)
};

static const Column old_gaps_columns[] = {
	MUST("projection", NAME), MUST_LIE("block", BIGINT, 1, PG_INT64_MAX - 1),
	MUST("gaps", GAPS)
};

static const Column started_columns[] = {
	MUST("projection", NAME), MUST("database", OIDS)
};

static const Column channel_columns[] = {
	MUST("name", NAME), MUST_LIE("workers", INTEGER, 0, 1024)
};

static const Column parked_columns[] = {
	MUST("projection", NAME), MUST("partition_key", TEXT),
	MUST_LIE("id", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MUST_LIE("partition", INTEGER, 0, 1023),
	MUST_LIE("no", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MUST_LIE("version", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MUST("event_name", TEXT), MUST_LIE("attempts", INTEGER, 0, INTEGER_MAX),
	MUST_LIE("waiting", BIGINT, 0, BIGINT_MAX),
	MUST("first_failed_at", TIME), MUST("last_failed_at", TIME),
	MAY("next_retry_at", TIME), MUST_LIE("sqlstate", TEXT, 0, 5),
	MUST("message", TEXT), MAY("detail", TEXT), MAY("hint", TEXT),
	MAY("context", TEXT), MAY("retry_error", TEXT), MUST("applied", GAPS),
	MUST("by_number", BOOLEAN),
	MAY_LIE("hash", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MAY("whole_key", TEXT)
};

static const Column unhandled_columns[] = {
	MUST("projection", NAME), MUST_LIE("lane", INTEGER, 0, 63),
	MUST_LIE("part", INTEGER, 0, INTEGER_MAX), MUST("why", TEXT),
	MAY("what", TEXT), MUST_LIE("count", BIGINT, 0, BIGINT_MAX),
	MUST_LIE("first_no", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MUST_LIE("last_no", BIGINT, PG_INT64_MIN, PG_INT64_MAX)
};

static const Column skipped_columns[] = {
	MUST("projection", NAME),
	MUST_LIE("no", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MUST("partition_key", TEXT), MUST("event_name", TEXT),
	MAY("skipped_at", TIME), MAY("skipped_by", TEXT), MAY("sqlstate", TEXT),
	MAY("message", TEXT), MAY("event_id", UUID),
	MAY_LIE("last_no", BIGINT, PG_INT64_MIN, PG_INT64_MAX),
	MAY_LIE("events", BIGINT, PG_INT64_MIN, PG_INT64_MAX)
};

StaticAssertDecl(lengthof(stream_columns) == STREAM_CATALOG_NATTS, "stream");
StaticAssertDecl(lengthof(projection_columns) == PROJECTION_CATALOG_NATTS, "projection");
StaticAssertDecl(lengthof(definition_columns) == DEFINITION_CATALOG_NATTS, "definition");
StaticAssertDecl(lengthof(state_columns) == STATE_CATALOG_NATTS, "projection_state");
StaticAssertDecl(lengthof(position_columns) == POSITION_CATALOG_NATTS, "position");
StaticAssertDecl(lengthof(old_gaps_columns) == OLD_GAPS_CATALOG_NATTS, "old_gaps");
StaticAssertDecl(lengthof(started_columns) == STARTED_CATALOG_NATTS, "started");
StaticAssertDecl(lengthof(channel_columns) == CHANNEL_CATALOG_NATTS, "channel");
StaticAssertDecl(lengthof(parked_columns) == PARKED_CATALOG_NATTS, "parked");
StaticAssertDecl(lengthof(unhandled_columns) == UNHANDLED_CATALOG_NATTS, "unhandled");
StaticAssertDecl(lengthof(skipped_columns) == SKIPPED_CATALOG_NATTS, "skipped");

/* what this code knows of each table, and how many columns name a row */
static const struct Shape
{
	const char *table;
	int			keys;
	int			count;
	const Column *columns;
}			shapes[] = {
	{STREAM_CATALOG, 1, lengthof(stream_columns), stream_columns},
	{PROJECTION_CATALOG, 1, lengthof(projection_columns), projection_columns},
	{DEFINITION_CATALOG, 1, lengthof(definition_columns), definition_columns},
	{STATE_CATALOG, 1, lengthof(state_columns), state_columns},
	{POSITION_CATALOG, 4, lengthof(position_columns), position_columns},
	{OLD_GAPS_CATALOG, 2, lengthof(old_gaps_columns), old_gaps_columns},
	{STARTED_CATALOG, 1, lengthof(started_columns), started_columns},
	{CHANNEL_CATALOG, 1, lengthof(channel_columns), channel_columns},
	{PARKED_CATALOG, 3, lengthof(parked_columns), parked_columns},
	{UNHANDLED_CATALOG, 3, lengthof(unhandled_columns), unhandled_columns},
	{SKIPPED_CATALOG, 2, lengthof(skipped_columns), skipped_columns},
};

static const struct Shape *
find_shape(const char *table)
{
	for (int i = 0; i < lengthof(shapes); i++)
	{
		if (strcmp(shapes[i].table, table) == 0)
			return &shapes[i];
	}
	elog(ERROR, "table \"%s\" is not in the catalog", table);
}

static const struct Shape *
shape_of(Relation catalog)
{
	return find_shape(RelationGetRelationName(catalog));
}

/* Has the table the columns that this code knows? */
bool
CatalogHasShape(Relation catalog, const char *table)
{
	const struct Shape *shape = find_shape(table);

	if (RelationGetNumberOfAttributes(catalog) != shape->count)
		return false;
	for (int i = 0; i < shape->count; i++)
	{
		if (TupleDescAttr(RelationGetDescr(catalog), i)->atttypid !=
			types[shape->columns[i].kind])
			return false;
	}
	return true;
}

/* A value as an error shows it. */
static char *
show_value(const Column *column, Datum value)
{
	switch (column->kind)
	{
		case INTEGER:
			return psprintf("%d", DatumGetInt32(value));
		case BIGINT:
			return psprintf("%lld", (long long) DatumGetInt64(value));
		case DOUBLE:
			return psprintf("%g", DatumGetFloat8(value));
		case NAME:
		case TEXT:
			{
				char	   *string = TextDatumGetCString(value);
				int			length = strlen(string);

				length = pg_mbcliplen(string, length, Min(length, 200));
				return psprintf("\"%.*s\"", length, string);
			}
		default:
			return "something else";
	}
}

static char *
check_number(const Column *column, Datum value)
{
	bool		good;

	if (column->kind == DOUBLE)
		good = DatumGetFloat8(value) >= column->min &&
			DatumGetFloat8(value) <= column->max;
	else
	{
		int64		number = column->kind == INTEGER ?
			DatumGetInt32(value) : DatumGetInt64(value);

		good = number >= column->min && number <= column->max;
	}
	return good ? NULL : psprintf("is %s, and must be from %lld to %lld",
								  show_value(column, value),
								  (long long) column->min,
								  (long long) column->max);
}

/* The text is not read for that. */
static char *
check_text(const Column *column, Datum value)
{
	Size		length = toast_raw_datum_size(value) - VARHDRSZ;
	bool		is_name = column->kind == NAME;
	Size		max = is_name ? NAMEDATALEN - 1 : (Size) column->max;

	if ((max == 0 || length <= max) && (!is_name || length > 0))
		return NULL;
	return psprintf("has %zu bytes, and must have from %d to %zu",
					length, is_name ? 1 : 0, max);
}

/* What is wrong with a value: the end of a sentence; or NULL. */
static char *
check_value(const Column *column, Datum value, bool isnull)
{
	if (isnull)
		return column->required ? "is null" : NULL;
	switch (column->kind)
	{
		case INTEGER:
		case BIGINT:
		case DOUBLE:
			return check_number(column, value);
		case TIME:
			return TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)) ?
				"is infinite" : NULL;
		case TEXT:
		case NAME:
			return check_text(column, value);
		default:
			return NULL;
	}
}

/* Is a column's value one that may be used, if it is not null? */
bool
CatalogColumnIsSound(Relation catalog, int column, const Datum *values,
					 const bool *nulls)
{
	return check_value(&shape_of(catalog)->columns[column - 1],
					   values[column - 1], nulls[column - 1]) == NULL;
}

/* A damage of this row: the problem is the rest of a sentence. */
CatalogDamage *
CatalogDamageOf(Relation catalog, const Datum *values, const bool *nulls,
				const char *problem)
{
	const struct Shape *shape = shape_of(catalog);
	CatalogDamage *damage = palloc(sizeof(CatalogDamage));
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "In the row of ");
	for (int i = 0; i < shape->keys; i++)
		appendStringInfo(&detail, "%s%s", i > 0 ? ", " : "",
						 nulls[i] ? "null" :
						 show_value(&shape->columns[i], values[i]));
	appendStringInfo(&detail, ", %s.", problem);
	damage->table = shape->table;
	damage->detail = detail.data;
	return damage;
}

/* What is wrong with a row that was taken apart; NULL: nothing. */
CatalogDamage *
CatalogFindDamage(Relation catalog, const Datum *values, const bool *nulls)
{
	const struct Shape *shape = shape_of(catalog);

	for (int i = 0; i < shape->count; i++)
	{
		char	   *problem = check_value(&shape->columns[i], values[i], nulls[i]);

		if (problem != NULL)
			return CatalogDamageOf(catalog, values, nulls,
								   psprintf("column \"%s\" %s",
											shape->columns[i].name, problem));
	}
	return NULL;
}

/*
 * Take a row apart; what is wrong with it, or NULL.  Of a damaged one look at
 * sound columns only.
 */
CatalogDamage *
CatalogDeformDamaged(Relation catalog, HeapTuple tuple, Datum *values,
					 bool *nulls)
{
	heap_deform_tuple(tuple, RelationGetDescr(catalog), values, nulls);
	return CatalogFindDamage(catalog, values, nulls);
}

/* Take a row apart; an error if it is damaged. */
void
CatalogDeform(Relation catalog, HeapTuple tuple, Datum *values, bool *nulls)
{
	CatalogRaise(CatalogDeformDamaged(catalog, tuple, values, nulls));
}

#define DAMAGE_HINT "Only the extension writes its tables. As superuser correct the row, or delete it and run projection_reset, or projection_init where the projection is not initialized then."

/* Raise it, if there is any. */
void
CatalogRaise(const CatalogDamage *damage)
{
	if (damage == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("table \"%s.%s\" has a damaged row",
					CATALOG_SCHEMA, damage->table),
			 errdetail_internal("%s", damage->detail),
			 errhint(DAMAGE_HINT)));
}

/* The same as the status shows it, in the form of last_error. */
char *
CatalogDamageText(const CatalogDamage *damage)
{
	return LastErrorText(ERRCODE_DATA_CORRUPTED,
						 psprintf("table \"%s.%s\" has a damaged row",
								  CATALOG_SCHEMA, damage->table),
						 damage->detail, DAMAGE_HINT);
}

/* A column of a row that was taken apart, of type text; or NULL. */
char *
CatalogGetText(const Datum *values, const bool *nulls, int column)
{
	return nulls[column - 1] ? NULL : TextDatumGetCString(values[column - 1]);
}

/* The other way round, for a row that is going to be formed. */
void
CatalogPutText(Datum *values, bool *nulls, int column, const char *string)
{
	nulls[column - 1] = string == NULL;
	if (string != NULL)
		values[column - 1] = CStringGetTextDatum(string);
}

/* An error in the form of last_error; detail and hint may be NULL. */
char *
LastErrorText(int sqlerrcode, const char *message, const char *detail,
			  const char *hint)
{
	return psprintf("%s: %s%s%s%s%s", unpack_sql_state(sqlerrcode), message,
					detail ? " DETAIL: " : "", detail ? detail : "",
					hint ? " HINT: " : "", hint ? hint : "");
}
