/*
 * apply_row.c
 *		Rows of a read model, made what they ought to be.
 *
 * Where apply.c changes rows by events, a rebuild knows each row as it ought
 * to be, and writes what differs: a row is inserted, deleted, or updated in
 * those columns that differ, in one write.  Columns that are not the
 * projection's keep their values, or get their defaults.
 *
 * The caller holds the key's partition, so nobody else of the engine writes
 * these rows.  Where somebody else has changed or locked a row, nothing is
 * done, and the result says so.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "utils/rel.h"

#include "handler/apply_row.h"
#include "handler/read_model.h"

struct RowApply
{
	ReadModel  *model;
	RowWriter  *writer;
	const Bitmapset *updated;	/* numbers of the columns that an update sets */
	Bitmapset  *inserted;		/* those and the key's */
	LockWaitPolicy policy;		/* where somebody else has locked a row */
	bool		found;			/* the row that was looked for last */
};

/* RowPlaced: remember where the row went. */
static void
remember_row(void *arg, void *tag, ItemPointer place)
{
	ReadModelRemember(arg, tag, place);
}

/* The key's columns and these. */
static Bitmapset *
with_key(const ReadModel *model, const Bitmapset *columns)
{
	int			ncolumns = model->key_type ? model->key_type->ncolumns : 1;
	Bitmapset  *result = bms_copy(columns);

	for (int i = 0; i < ncolumns; i++)
		result = bms_add_member(result, model->columns[i]);
	return result;
}

/* A writer that sets these columns. */
static RowWriter *
begin_writer(const RowApply *apply)
{
	bool		owned[MaxHeapAttributeNumber] = {0};
	Bitmapset  *updated = NULL;
	int			number = -1;

	while ((number = bms_next_member(apply->inserted, number)) >= 0)
		owned[number - 1] = true;
	number = -1;
	while ((number = bms_next_member(apply->updated, number)) >= 0)
		updated = bms_add_member(updated,
								 number - FirstLowInvalidHeapAttributeNumber);
	return RowWriterBegin(apply->model->relation, owned, updated,
						  apply->model->snapshot);
}

/*
 * Get ready to write into a read model that is open with RowExclusiveLock.
 * columns: numbers of those, beside the key's, that the rows to come are right
 * in.  Everything lives in the current memory context.
 */
RowApply *
RowApplyBegin(const Sink *sink, Relation read_model, Snapshot snapshot,
			  const Bitmapset *columns, LockWaitPolicy policy)
{
	RowApply   *apply = palloc0(sizeof(RowApply));

	apply->updated = columns;
	apply->policy = policy;
	apply->model = ReadModelBegin(sink, read_model, snapshot);
	apply->inserted = with_key(apply->model, columns);
	apply->writer = begin_writer(apply);
	RowWriterOnPlace(apply->writer, remember_row, apply->model);
	return apply;
}

/* Put the keys into the order in which their rows are best visited. */
void
RowApplyArrange(RowApply *apply, FoldedKey *keys, int64 count)
{
	ReadModelArrange(apply->model, keys, count);
}

/* The key's row as it is, good until the next call; NULL: there is none. */
TupleTableSlot *
RowApplyFind(RowApply *apply, const FoldedKey *key)
{
	apply->found = ReadModelFind(apply->model, key);
	return apply->found ? apply->model->row : NULL;
}

/* A new row, whose other columns have their defaults. */
static RowUpdate
insert_row(RowApply *apply, const FoldedKey *key, TupleTableSlot *wanted)
{
	void	   *tag = unconstify(FoldedKey *, key);
	TupleTableSlot *slot = RowWriterSlot(apply->writer, tag, true);
	int			number = -1;

	while ((number = bms_next_member(apply->inserted, number)) >= 0)
		slot->tts_values[number - 1] = slot_getattr(wanted, number,
													&slot->tts_isnull[number - 1]);
	RowWriterInsert(apply->writer, slot, tag);
	return ROW_UPDATED;
}

/* The old row but for the columns that differ. */
static RowUpdate
update_row(RowApply *apply, const FoldedKey *key, TupleTableSlot *wanted,
		   const bool *differs)
{
	int			natts = RelationGetNumberOfAttributes(apply->model->relation);
	void	   *tag = unconstify(FoldedKey *, key);
	TupleTableSlot *slot = RowWriterSlot(apply->writer, tag, false);

	slot_getallattrs(apply->model->row);
	for (int i = 0; i < natts; i++)
	{
		slot->tts_values[i] = apply->model->row->tts_values[i];
		slot->tts_isnull[i] = apply->model->row->tts_isnull[i];
		if (differs[i])
			slot->tts_values[i] = slot_getattr(wanted, i + 1,
											   &slot->tts_isnull[i]);
	}
	return RowWriterUpdate(apply->writer, apply->model->row, slot, apply->policy,
						   tag);
}

/*
 * Make the row that was found last, or not found, what is wanted (NULL: no
 * row); differs: by column, where both are there.
 */
RowUpdate
RowApplyWrite(RowApply *apply, const FoldedKey *key, TupleTableSlot *wanted,
			  const bool *differs)
{
	if (!apply->found)
		return wanted == NULL ? ROW_UPDATED : insert_row(apply, key, wanted);
	if (wanted == NULL)
		return RowWriterDelete(apply->writer, apply->model->row, apply->policy,
							   unconstify(FoldedKey *, key));
	return update_row(apply, key, wanted, differs);
}

/* Write all that is buffered, fire what is due, and close. */
void
RowApplyEnd(RowApply *apply)
{
	RowWriterEnd(apply->writer);
	ReadModelEnd(apply->model);
}
