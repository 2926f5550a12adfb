/*
 * compare.c
 *		projection_compare: do two projections of one stream have the same rows?
 *
 * One query over both tables, in one snapshot in which both projections have
 * applied the same events.  While consumers work such a snapshot is not always to
 * be had at once, so it is taken again and again for a while.
 *
 * Values are the same if their texts are, under the settings of the first
 * projection; rows belong together if their keys are equal.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/xact.h"
#include "catalog/pg_operator.h"
#include "compat.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "catalog.h"
#include "definition/compiled.h"
#include "merge/pinned.h"
#include "nap.h"
#include "promote/comparison.h"
#include "promote/pair.h"
#include "promote/reach.h"

/* rows that are fetched at once */
#define ROWS 1000
/* between two snapshots, in milliseconds */
#define NAP 5

SQL_FUNCTION(projection_compare);

/*
 * Look both up, and lock their tables.  A promotion that was waited for may have
 * given them each other's table.
 */
static void
fetch_both(Comparison *comparison, const char *a, const char *b)
{
	Oid			table_a;
	Oid			table_b;

	comparison->a = PairFetchOne(a);
	comparison->b = PairFetchOne(b);
	do
	{
		table_a = comparison->a->read_model;
		table_b = comparison->b->read_model;
		LockRelationOid(table_a, AccessShareLock);
		LockRelationOid(table_b, AccessShareLock);
		comparison->a = PairFetchOne(a);
		comparison->b = PairFetchOne(b);
	} while (comparison->a->read_model != table_a ||
			 comparison->b->read_model != table_b);
}

/* The index whose columns tell rows apart: the key's. */
static Oid
key_index(const Projection *projection, Relation table)
{
	OwnerScope	owner;
	int			settings;
	Merge	   *merge;

	(void) RelationGetIndexList(table);
	if (projection->declared == NULL || projection->declared->kind == DECLARED_STATEMENT)
		return table->rd_pkindex;
	owner = OwnerEnter(projection);
	settings = PinnedEnter(projection->declared->settings);
	merge = DeclaredParse(projection->declared, InvalidOid);
	PinnedLeave(settings);
	OwnerLeave(&owner);
	return merge->key.index;
}

/* An operator as SQL writes it where no path leads to it. */
static char *
operator_text(Oid oid)
{
	HeapTuple	row = SearchSysCache1(OPEROID, ObjectIdGetDatum(oid));
	Form_pg_operator form;
	char	   *result;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for operator %u", oid);
	form = (Form_pg_operator) GETSTRUCT(row);
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(form->oprnamespace)),
					  NameStr(form->oprname));
	ReleaseSysCache(row);
	return result;
}

/* By which columns, and by which operators. */
static void
take_key(Comparison *comparison)
{
	Relation	table = relation_open(comparison->a->read_model, AccessShareLock);
	Oid			oid = key_index(comparison->a, table);
	Relation	index;

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no primary key",
						RelationGetRelationName(table)),
				 errdetail("A statement projection does not say which columns tell its rows apart.")));
	index = index_open(oid, AccessShareLock);
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		Oid			operator = get_opfamily_member(index->rd_opfamily[i],
												   index->rd_opcintype[i],
												   index->rd_opcintype[i],
												   BTEqualStrategyNumber);

		comparison->key = lappend(comparison->key,
								  get_attname(RelationGetRelid(table),
											  index->rd_index->indkey.values[i], false));
		comparison->operators = lappend(comparison->operators,
										operator_text(operator));
	}
	index_close(index, AccessShareLock);
	relation_close(table, NoLock);
}

/* A generated column is compared by what it is computed of. */
static bool
is_generated(Oid table, const char *column)
{
	AttrNumber	number = get_attnum(table, column);

	return number != InvalidAttrNumber && get_attgenerated(table, number) != '\0';
}

static bool
is_member(List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

static void
put_row(Comparison *comparison, const char *const *row)
{
	enum
	{
		KEY, PROBLEM, COLUMN_NAME, A, B, COLUMNS
	};
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS];

	for (int i = 0; i < COLUMNS; i++)
	{
		nulls[i] = row[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(row[i]);
	}
	tuplestore_putvalues(comparison->result->setResult,
						 comparison->result->setDesc, values, nulls);
}

/* A column that one of the tables does not have. */
static void
tell_missing(Comparison *comparison, const char *column, bool in_a)
{
	const char *row[] = {NULL, "column missing", column, in_a ? NULL : column,
	in_a ? column : NULL};

	put_row(comparison, row);
}

/* The columns that one of the projections uses, and both tables have. */
static void
take_columns(Comparison *comparison)
{
	List	   *used = list_concat(ProjectionColumnNames(comparison->a),
								   ProjectionColumnNames(comparison->b));
	List	   *seen = NIL;
	ListCell   *cell;

	foreach(cell, used)
	{
		char	   *column = lfirst(cell);
		bool		in_a = get_attnum(comparison->a->read_model, column) != InvalidAttrNumber;
		bool		in_b = get_attnum(comparison->b->read_model, column) != InvalidAttrNumber;

		if (is_member(seen, column))
			continue;
		seen = lappend(seen, column);
		if (in_a && in_b)
		{
			if (!is_generated(comparison->a->read_model, column) &&
				!is_member(comparison->key, column))
				comparison->columns = lappend(comparison->columns, column);
		}
		else
			tell_missing(comparison, column, !in_a);
	}
	foreach(cell, comparison->key)
	{
		if (get_attnum(comparison->b->read_model, lfirst(cell)) == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s\" has no column \"%s\"",
							get_rel_name(comparison->b->read_model),
							(char *) lfirst(cell)),
					 errdetail("It is in the key of projection \"%s\".",
							   comparison->a->name)));
	}
}

/* The rows that were fetched, into the result. */
static void
put_fetched(Comparison *comparison, MemoryContext memory)
{
	MemoryContext old = MemoryContextSwitchTo(memory);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		const char *row[5];

		for (int j = 0; j < lengthof(row); j++)
			row[j] = SPI_getvalue(SPI_tuptable->vals[i],
								  SPI_tuptable->tupdesc, j + 1);
		put_row(comparison, row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(memory);
}

/* What the query finds, under the active snapshot, as the current role. */
static void
run_query(Comparison *comparison)
{
	Portal		portal;
	MemoryContext memory;

	SPI_connect();
	memory = AllocSetContextCreate(CurrentMemoryContext,
								   "wallet_projection differences",
								   ALLOCSET_DEFAULT_SIZES);
	portal = SPI_cursor_open_with_args(NULL, ComparisonQuery(comparison), 0, NULL,
									   NULL, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, ROWS);
		if (SPI_processed == 0)
			break;
		put_fetched(comparison, memory);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

/* Names are PostgreSQL's own, and no row is left out. */
static int
enter_settings(const Projection *projection)
{
	int			level = projection->declared != NULL ?
		PinnedEnter(projection->declared->settings) : NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	(void) set_config_option("row_security", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

static void
refuse_unequal(const Comparison *comparison, Snapshot snapshot)
{
	int64		a_behind = EventsBehind(comparison->a, comparison->b, snapshot);
	int64		b_behind = EventsBehind(comparison->b, comparison->a, snapshot);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projections \"%s\" and \"%s\" have not applied the same events",
					comparison->a->name, comparison->b->name),
			 errdetail_internal("%s",
								a_behind >= b_behind ?
								BehindText(comparison->a, comparison->b, a_behind) :
								BehindText(comparison->b, comparison->a, b_behind)),
			 IsolationUsesXactSnapshot() ?
			 errhint("In READ COMMITTED another snapshot would be taken.") :
			 errhint("Let consumers work on both. If they work without a pause, stop both for a moment: SELECT projection_stop(%s), projection_stop(%s);",
					 quote_literal_cstr(comparison->a->name),
					 quote_literal_cstr(comparison->b->name))));
}

/* A registered snapshot in which both have applied the same events. */
static Snapshot
equal_snapshot(const Comparison *comparison, TimestampTz deadline)
{
	for (;;)
	{
		Snapshot	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ?
												GetActiveSnapshot() :
												GetLatestSnapshot());

		if (AtEqualPositions(comparison->a, comparison->b, snapshot))
			return snapshot;
		if (IsolationUsesXactSnapshot() || GetCurrentTimestamp() >= deadline)
			refuse_unequal(comparison, snapshot);
		UnregisterSnapshot(snapshot);
		NapFor(NAP);
	}
}

/* projection_compare(a, b, timeout) */
Datum
projection_compare(PG_FUNCTION_ARGS)
{
	char	   *a = ArgumentName(fcinfo, 0, "a");
	char	   *b = ArgumentName(fcinfo, 1, "b");
	TimestampTz deadline = ArgumentDeadline(fcinfo, 2, "timeout", true);
	Comparison	comparison = {0};
	Snapshot	snapshot;
	int			settings;

	compat_InitMaterializedSRF(fcinfo);
	comparison.result = (ReturnSetInfo *) fcinfo->resultinfo;
	fetch_both(&comparison, a, b);
	PairCheckStreams(comparison.a, comparison.b);
	take_key(&comparison);
	take_columns(&comparison);
	snapshot = equal_snapshot(&comparison, deadline);
	PushActiveSnapshot(snapshot);
	settings = enter_settings(comparison.a);
	run_query(&comparison);
	PinnedLeave(settings);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	return (Datum) 0;
}
