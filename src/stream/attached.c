/*
 * attached.c
 *		Whether a table of any columns can be trusted as a stream.
 *
 * Positions are exact where each row has a number of its own that the insert
 * draws in order, so the rules ask for: one NOT NULL integer column, first in
 * a unique index (a batch reads by it); a sequence that is the column's own
 * (attached_sequence.c); and either GENERATED ALWAYS, or somebody who says that
 * no writer brings a number along (guard 'trust').  They are the same when a
 * table is attached and whenever its stream is looked up anew.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "stream/attached.h"

/* The hint, with the stream's name in its places. */
static char *
hint_for(const char *stream, const char *hint)
{
	StringInfoData buffer;
	const char *place;

	initStringInfo(&buffer);
	while ((place = strstr(hint, STREAM_NAME)) != NULL)
	{
		appendBinaryStringInfo(&buffer, hint, place - hint);
		appendStringInfoString(&buffer, quote_literal_cstr(stream));
		hint = place + strlen(STREAM_NAME);
	}
	appendStringInfoString(&buffer, hint);
	return buffer.data;
}

/* Raise it: the table cannot be this stream. */
void
AttachedRefuse(const char *stream, Relation relation, const Refusal *refusal)
{
	ereport(ERROR,
			(errcode(refusal->sqlerrcode),
			 errmsg("\"%s\" cannot be a stream",
					RelationGetRelationName(relation)),
			 errdetail_internal("%s", refusal->detail),
			 refusal->hint ? errhint("%s", hint_for(stream, refusal->hint)) : 0));
}

bool
IsIdentityAlways(Relation relation, AttrNumber column)
{
	return TupleDescAttr(RelationGetDescr(relation), column - 1)->attidentity ==
		ATTRIBUTE_IDENTITY_ALWAYS;
}

/* The sequence that fills this column; InvalidOid if none does. */
static Oid
sequence_of(Relation relation, AttrNumber column)
{
	if (TupleDescAttr(RelationGetDescr(relation), column - 1)->attidentity != '\0')
		return compat_getIdentitySequence(relation, column, true);
	return DefaultSequence(relation, column);
}

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/* What a unique index must have behind the position: ", column" and so on. */
static char *
index_columns(Relation relation, AttrNumber position)
{
	PartitionKey key = RelationGetPartitionKey(relation);
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; key != NULL && i < key->partnatts; i++)
	{
		if (key->partattrs[i] > 0 && key->partattrs[i] != position)
			appendStringInfo(&columns, ", %s",
							 quote_identifier(get_attname(RelationGetRelid(relation),
														  key->partattrs[i], false)));
	}
	return columns.data;
}

/* Can its partitions and children have an identity column, if it has any? */
static bool
may_have_identity(Relation relation)
{
	return relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
		compat_partitions_have_identity : !relation->rd_rel->relhassubclass;
}

/* The statements that add a column of numbers, and attach the table by it. */
static char *
add_column_statement(Relation relation)
{
	const char *table = QualifiedName(relation);
	const char *name = get_attnum(RelationGetRelid(relation), "no") ==
		InvalidAttrNumber ? "no" : "position_no";

	if (relation->rd_rel->relkind == RELKIND_RELATION &&
		may_have_identity(relation))
		return psprintf("ALTER TABLE %s ADD COLUMN %s bigint GENERATED ALWAYS AS IDENTITY UNIQUE; SELECT stream_attach(" STREAM_NAME ", %s, '%s');",
						table, name, quote_literal_cstr(table), name);
	return psprintf("ALTER TABLE %s ADD COLUMN %s bigserial; CREATE UNIQUE INDEX ON %s (%s%s); SELECT stream_attach(" STREAM_NAME ", %s, '%s', guard => 'trust');",
					table, name, table, name,
					index_columns(relation, InvalidAttrNumber),
					quote_literal_cstr(table), name);
}

/* No column is numbered by a sequence. */
static Refusal *
refuse_unnumbered(Relation relation)
{
	return MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					   "It has no column that is numbered by a sequence, so its rows are in no order.",
					   psprintf("Add a column: %s The rows that are there are numbered as they lie, and the table is rewritten.",
								add_column_statement(relation)));
}

/* Find the one column that is numbered by a sequence. */
static Refusal *
find_position(Relation relation, AttrNumber *position)
{
	TupleDesc	desc = RelationGetDescr(relation);
	Oid			relid = RelationGetRelid(relation);

	*position = InvalidAttrNumber;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped || !is_integer(attribute->atttypid) ||
			!OidIsValid(sequence_of(relation, i + 1)))
			continue;
		if (*position != InvalidAttrNumber)
			return MakeRefusal(ERRCODE_AMBIGUOUS_COLUMN,
							   psprintf("Columns \"%s\" and \"%s\" are both numbered by a sequence.",
										get_attname(relid, *position, false),
										NameStr(attribute->attname)),
							   psprintf("Say which one is the position: SELECT stream_attach(" STREAM_NAME ", %s, %s);",
										quote_literal_cstr(QualifiedName(relation)),
										quote_literal_cstr(get_attname(relid, *position, false))));
		*position = i + 1;
	}
	return *position == InvalidAttrNumber ? refuse_unnumbered(relation) : NULL;
}

/* The column of this name. */
static Refusal *
take_position(Relation relation, const char *name, AttrNumber *position)
{
	*position = get_attnum(RelationGetRelid(relation), name);
	if (*position == InvalidAttrNumber)
		return MakeRefusal(ERRCODE_UNDEFINED_COLUMN,
						   psprintf("It has no column \"%s\", which is to be the position.", name),
						   "Name the column that its sequence numbers; if it was renamed, rename it back.");
	return *position > 0 ? NULL :
		MakeRefusal(ERRCODE_INVALID_COLUMN_REFERENCE,
					psprintf("Column \"%s\" is a system column.", name),
					"Name the column that a sequence numbers.");
}

/* Is it a unique index that finds each row by its number? */
static bool
leads_index(Relation index, AttrNumber position)
{
	Form_pg_index form = index->rd_index;

	return index->rd_rel->relam == BTREE_AM_OID && form->indisunique &&
		form->indisvalid && form->indimmediate &&
		form->indkey.values[0] == position && index->rd_indoption[0] == 0 &&
		index->rd_opfamily[0] == INTEGER_BTREE_FAM_OID &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

/* The unique index with the fewest columns that the position leads. */
static Oid
find_index(Relation relation, AttrNumber position)
{
	List	   *relids = RelationGetIndexList(relation);
	Oid			found = InvalidOid;
	int			width = 0;
	ListCell   *cell;

	foreach(cell, relids)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		int			columns = index->rd_index->indnkeyatts;

		if (leads_index(index, position) &&
			(!OidIsValid(found) || columns < width))
		{
			found = RelationGetRelid(index);
			width = columns;
		}
		index_close(index, AccessShareLock);
	}
	list_free(relids);
	return found;
}

/* The column itself: an integer, not null, first in a unique index. */
static Refusal *
examine_column(Relation relation, StreamParts *parts)
{
	Form_pg_attribute attribute =
		TupleDescAttr(RelationGetDescr(relation), parts->position - 1);
	const char *name = NameStr(attribute->attname);

	parts->position_type = attribute->atttypid;
	if (!is_integer(attribute->atttypid))
		return MakeRefusal(ERRCODE_DATATYPE_MISMATCH,
						   psprintf("Column \"%s\" is of type %s, not smallint, integer or bigint.",
									name, format_type_be(attribute->atttypid)),
						   psprintf("Add a column: %s",
									add_column_statement(relation)));
	if (!attribute->attnotnull)
		return MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						   psprintf("Column \"%s\" may be null.", name),
						   psprintf("Run: ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;",
									QualifiedName(relation),
									quote_identifier(name)));
	parts->number_index = find_index(relation, parts->position);
	if (!OidIsValid(parts->number_index))
		return MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						   psprintf("No unique index for all rows, valid and checked at once, begins with column \"%s\".", name),
						   psprintf("Run: CREATE UNIQUE INDEX ON %s (%s%s);",
									QualifiedName(relation),
									quote_identifier(name),
									index_columns(relation, parts->position)));
	return NULL;
}

/* A column that a sequence does not simply fill. */
static Refusal *
refuse_default(Relation relation, AttrNumber position)
{
	const char *name = get_attname(RelationGetRelid(relation), position, false);

	return MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					   psprintf("The default of column \"%s\" is not the next number of a sequence.", name),
					   psprintf("Add a column: %s Or, if the column has no default: ALTER TABLE %s ALTER COLUMN %s ADD GENERATED ALWAYS AS IDENTITY (START ...); with a number above all that are there.",
								add_column_statement(relation),
								QualifiedName(relation), quote_identifier(name)));
}

/* A writer could bring numbers of his own: somebody has to decide. */
static Refusal *
refuse_unguarded(Relation relation, AttrNumber position)
{
	const char *table = quote_literal_cstr(QualifiedName(relation));
	const char *column = get_attname(RelationGetRelid(relation), position, false);
	const char *name = quote_literal_cstr(column);

	const char *identity = !may_have_identity(relation) ? "" :
		psprintf("If all writers leave the column out: SELECT stream_attach(" STREAM_NAME ", %s, %s, guard => 'identity'); which makes it GENERATED ALWAYS AS IDENTITY. ",
				 table, name);

	return MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					   psprintf("Writers may insert numbers of their own into column \"%s\", and a number below a position is never applied.",
								column),
					   psprintf("%sIf no writer brings a number that was not drawn from the sequence by the INSERT itself: SELECT stream_attach(" STREAM_NAME ", %s, %s, guard => 'trust'); If some draw numbers ahead, give events a number of their own: %s",
								identity, table, name,
								add_column_statement(relation)));
}

/* Where the numbers come from, and whether writers may bring others. */
static Refusal *
examine_source(Relation relation, const char *guard, StreamParts *parts)
{
	AttrNumber	position = parts->position;
	Refusal    *refusal;

	parts->sequence = sequence_of(relation, position);
	if (!OidIsValid(parts->sequence))
		return refuse_default(relation, position);
	refusal = AttachedSequence(relation, position, parts->sequence);
	if (refusal != NULL || (guard != NULL && strcmp(guard, GUARD_TRUST) == 0))
		return refusal;
	if (!IsIdentityAlways(relation, position))
		return refuse_unguarded(relation, position);
	return AttachedTriggers(relation, position);
}

/*
 * Why the table cannot be a stream whose numbers are in this column (NULL: in
 * the one that a sequence numbers) and that is so guarded; NULL: it can, and
 * these are its parts.
 */
Refusal *
AttachedExamine(Relation relation, const char *position, const char *guard,
				StreamParts *parts)
{
	Refusal    *refusal = AttachedTable(relation);

	memset(parts, 0, sizeof(*parts));
	if (refusal == NULL)
		refusal = position == NULL ?
			find_position(relation, &parts->position) :
			take_position(relation, position, &parts->position);
	if (refusal == NULL)
		refusal = examine_column(relation, parts);
	if (refusal == NULL)
		refusal = examine_source(relation, guard, parts);
	return refusal;
}

/*
 * The column and the sequence of a table's numbers, for whoever must not fail
 * and does not ask for more; false: it has none.
 */
bool
AttachedNumbering(Relation relation, const char *position, StreamParts *parts)
{
	AttrNumber	number = get_attnum(RelationGetRelid(relation), position);

	memset(parts, 0, sizeof(*parts));
	if (number <= 0)
		return false;
	parts->position = number;
	parts->position_type = get_atttype(RelationGetRelid(relation), number);
	if (!is_integer(parts->position_type))
		return false;
	parts->sequence = sequence_of(relation, number);
	return OidIsValid(parts->sequence) &&
		get_rel_relkind(parts->sequence) == RELKIND_SEQUENCE;
}
