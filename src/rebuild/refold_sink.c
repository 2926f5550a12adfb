/*
 * refold_sink.c
 *		What a refold runs: the projection's own definition, with two changes.
 *
 * Constraints of the table are not checked: the events were applied, perhaps
 * before a constraint was added; but a reset decides anew which events can be
 * (RefoldCheckRows()).  And defaults that are not the same each time
 * (a sequence's next number, the time of day) are not evaluated, as nothing may
 * be written: such a column is null in the refold's rows, and it is not
 * compared, nor are those that are computed from it.
 */
#include "postgres.h"

#include "compat.h"
#include "access/sysattr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "merge/merge.h"
#include "rebuild/refold_state.h"

/* A null of a column's type, that no domain has a say in. */
static Expr *
null_of_column(TupleDesc desc, AttrNumber column)
{
	Form_pg_attribute form = TupleDescAttr(desc, column - 1);

	return (Expr *) makeNullConst(form->atttypid, form->atttypmod,
								  form->attcollation);
}

/* The clause, with nulls for defaults that change; *changing: their columns. */
static MergeClause *
without_changing(const MergeClause *clause, TupleDesc desc,
				 Bitmapset **changing)
{
	MergeClause *result = palloc_object(MergeClause);
	ListCell   *cell;

	*result = *clause;
	result->columns = NIL;
	foreach(cell, clause->columns)
	{
		TargetEntry *entry = lfirst(cell);

		if (clause->action == MERGE_DO_INSERT &&
			!bms_is_member(entry->resno, clause->listed) &&
			contain_mutable_functions((Node *) entry->expr))
		{
			*changing = bms_add_member(*changing, entry->resno);
			entry = flatCopyTargetEntry(entry);
			entry->expr = null_of_column(desc, entry->resno);
		}
		result->columns = lappend(result->columns, entry);
	}
	return result;
}

/* The definition, with nulls for defaults that change; *changing: likewise. */
static Merge *
copy_merge(const Merge *merge, TupleDesc desc, Bitmapset **changing)
{
	Merge	   *result = palloc_object(Merge);
	ListCell   *cell;

	*result = *merge;
	result->clauses = NIL;
	foreach(cell, merge->clauses)
		result->clauses = lappend(result->clauses,
								  without_changing(lfirst(cell), desc, changing));
	return result;
}

/* Columns of the row that an expression reads, as RelationGetIndexAttrBitmap() */
static bool
reads_any(Node *expression, const Bitmapset *columns)
{
	Bitmapset  *read = NULL;
	int			at = -1;

	pull_varattnos(expression, MERGE_ROW, &read);
	if (bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, read))
		return !bms_is_empty(columns);
	while ((at = bms_next_member(read, at)) >= 0)
	{
		if (bms_is_member(at + FirstLowInvalidHeapAttributeNumber, columns))
			return true;
	}
	return false;
}

/* Add the columns that are computed from those that change. */
static Bitmapset *
add_dependent(const Merge *merge, Bitmapset *changing)
{
	bool		more = !bms_is_empty(changing);

	while (more)
	{
		ListCell   *cell;
		ListCell   *lc;

		more = false;
		foreach(cell, merge->clauses)
		{
			foreach(lc, ((MergeClause *) lfirst(cell))->columns)
			{
				TargetEntry *entry = lfirst(lc);

				if (bms_is_member(entry->resno, changing) ||
					!reads_any((Node *) entry->expr, changing))
					continue;
				changing = bms_add_member(changing, entry->resno);
				more = true;
			}
		}
	}
	return changing;
}

/* Columns that the text assigns, or that have a default. */
static Bitmapset *
assigned_columns(const Merge *merge, TupleDesc desc)
{
	Bitmapset  *result = NULL;
	ListCell   *cell;
	ListCell   *lc;

	foreach(cell, merge->clauses)
	{
		const MergeClause *clause = lfirst(cell);

		foreach(lc, clause->columns)
		{
			const TargetEntry *entry = lfirst(lc);

			if (bms_is_member(entry->resno, clause->listed) ||
				TupleDescAttr(desc, entry->resno - 1)->atthasdef)
				result = bms_add_member(result, entry->resno);
		}
	}
	return result;
}

/*
 * Which columns are compared.  Those of a declared key are equal anyway: which
 * of equal values (1.0 and 1.00) the row has may depend on which event came
 * first.
 */
static Bitmapset *
declared_columns(const Merge *merge, TupleDesc desc, Bitmapset *changing)
{
	Bitmapset  *result = assigned_columns(merge, desc);

	result = bms_del_members(result, changing);
	for (int i = 0; i < merge->key.ncolumns; i++)
		result = bms_del_member(result, merge->key.columns[i]);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute form = TupleDescAttr(desc, i);

		if (form->attisdropped || form->attgenerated != '\0' ||
			form->attidentity != '\0')
			result = bms_del_member(result, i + 1);
	}
	return result;
}

static void
open_declared(Refold *refold)
{
	OpenProjection *work = refold->work;
	Bitmapset  *changing = NULL;
	const Merge *merge = copy_merge(work->sink.merge, refold->desc, &changing);

	changing = add_dependent(merge, changing);
	refold->sink.merge = merge;
	refold->sink.key = KeyTypeOf(merge);
	refold->sink.run = MergeRunBegin(merge, work->stream->relation,
									 work->read_model);
	if (refold->checked)
		MergeRunUnknown(refold->sink.run, changing);
	else
		MergeRunUnchecked(refold->sink.run);
	refold->columns = declared_columns(merge, refold->desc, changing);
	MergeRunOpen(refold->sink.run, work->read_model);
	MergeRowKeepSums(refold->sink.run);
}

static void
open_native(Refold *refold)
{
	OpenProjection *work = refold->work;
	ReadModel  *model = ReadModelBeginToRead(&work->sink, work->read_model,
											 refold->snapshot);

	/* where the columns are is all that is wanted of it */
	refold->model = *model;
	ReadModelEnd(model);
	refold->columns = NULL;
	for (int i = 1; i < refold->sink.handler->ncolumns; i++)
		refold->columns = bms_add_member(refold->columns,
										 refold->model.columns[i]);
}

/* Compile what the current transaction has opened. */
void
RefoldOpenSink(Refold *refold)
{
	MemoryContext old;

	refold->sink_context = AllocSetContextCreate(refold->context,
												 "wallet_projection refold sink",
												 ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(refold->sink_context);
	refold->sink = refold->work->sink;
	refold->desc = CreateTupleDescCopyConstr(RelationGetDescr(refold->work->read_model));
	refold->type_length = strlen(refold->projection->aggregate_type);
	if (refold->sink.handler != NULL)
		open_native(refold);
	else
		open_declared(refold);
	refold->output = palloc0_array(FmgrInfo, refold->desc->natts);
	refold->old_row = MakeSingleTupleTableSlot(refold->desc,
											   &TTSOpsMinimalTuple);
	refold->new_row = MakeSingleTupleTableSlot(refold->desc, &TTSOpsVirtual);
	MemoryContextSwitchTo(old);
}

/* Give that back; after an error the transaction's end does it. */
void
RefoldCloseSink(Refold *refold)
{
	if (refold->sink_context == NULL)
		return;
	if (refold->sink.run != NULL)
		MergeRunEnd(refold->sink.run);
	MemoryContextDelete(refold->sink_context);
	refold->sink_context = NULL;
}
