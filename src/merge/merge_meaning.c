/*
 * merge_meaning.c
 *		definition_meaning(): what is remembered of a definition.
 *
 * Beside the text: what its names mean, what chooses the partition, and the
 * settings under which it is understood.  A definition that comes to mean
 * something else is never run; here a user can see what has changed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "argument.h"
#include "compat.h"
#include "merge/fingerprint.h"
#include "merge/merge.h"
#include "merge/pinned.h"

/* what a definition may hold, in characters */
#define DEFINITION_LENGTH	(1024 * 1024)

SQL_FUNCTION(definition_meaning);

static Datum
text_array(List *texts)
{
	Datum	   *elements = palloc(sizeof(Datum) * (list_length(texts) + 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, texts)
		elements[count++] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(construct_array(elements, count, TEXTOID, -1,
										   false, TYPALIGN_INT));
}

/*
 * definition_meaning(definition text, uses out text[], partitioning out text,
 *					  fingerprint out bigint, settings out text[])
 *
 * Errors: those of MergeParse(), 22004 for null.
 */
Datum
definition_meaning(PG_FUNCTION_ARGS)
{
	char	   *definition = ArgumentText(fcinfo, 0, "definition",
										  DEFINITION_LENGTH);
	Merge	   *merge = MergeParse(definition);
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = text_array(merge->uses);
	values[1] = CStringGetTextDatum(MergeFingerprintText(merge));
	values[2] = Int64GetDatum((int64) MergeFingerprint(merge));
	values[3] = PointerGetDatum(PinnedSettings());
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values,
											 nulls));
}
