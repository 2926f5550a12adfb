/*
 * guard.c
 *		A column of numbers that only its sequence fills.
 *
 * GENERATED ALWAYS AS IDENTITY refuses whoever brings a number (428C9).  A
 * column that has a sequence by another way is made such a one: no row is
 * rewritten, the table is locked for the moment that this takes, for no longer
 * than the caller's lock_timeout allows to wait.  The new sequence has the
 * name, the options, the rights of the old one, and goes on where that was.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "stream/attach.h"
#include "stream/attached.h"

/* Partitions and children that would not take part. */
static void
check_children(Relation relation)
{
	bool		partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;

	if (partitioned ? compat_partitions_have_identity :
		!relation->rd_rel->relhassubclass)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("guard 'identity' is not possible for table \"%s\"",
					RelationGetRelationName(relation)),
			 errdetail("Its %s cannot have identity columns%s, so who writes straight into one could still bring numbers.",
					   partitioned ? "partitions" : "children",
					   partitioned ? " in this release of PostgreSQL" : ""),
			 errhint("Use guard => 'trust', if no writer brings a number that was not drawn from the sequence by the INSERT itself.")));
}

/* The highest number that a column of this type takes. */
static int64
type_max(Oid type)
{
	return type == INT2OID ? PG_INT16_MAX :
		type == INT4OID ? PG_INT32_MAX : PG_INT64_MAX;
}

/* The sequence's options, as ADD GENERATED takes them for this type. */
static char *
options_of(Oid sequence, Oid type)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence form;
	char	   *options;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	options = psprintf("SEQUENCE NAME %s START " INT64_FORMAT " MINVALUE " INT64_FORMAT " MAXVALUE " INT64_FORMAT,
					   TableNameOf(sequence), form->seqstart, form->seqmin,
					   Min(form->seqmax, type_max(type)));
	ReleaseSysCache(tuple);
	return options;
}

/* The statements that give one role its rights on the sequence. */
static List *
add_grant(List *grants, const char *sequence, const AclItem *item)
{
	static const struct
	{
		AclMode		right;
		const char *name;
	}			rights[] = {{ACL_SELECT, "SELECT"}, {ACL_UPDATE, "UPDATE"}, {ACL_USAGE, "USAGE"}};
	const char *role = item->ai_grantee == ACL_ID_PUBLIC ? "PUBLIC" :
		quote_identifier(GetUserNameFromId(item->ai_grantee, false));

	for (int i = 0; i < lengthof(rights); i++)
	{
		if (ACLITEM_GET_PRIVS(*item) & rights[i].right)
			grants = lappend(grants,
							 psprintf("GRANT %s ON SEQUENCE %s TO %s%s",
									  rights[i].name, sequence, role,
									  ACLITEM_GET_GOPTIONS(*item) & rights[i].right ?
									  " WITH GRANT OPTION" : ""));
	}
	return grants;
}

/* The statements that give all others than the owner their rights. */
static List *
grants_on(Oid sequence)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(sequence));
	Oid			owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	char	   *name = TableNameOf(sequence);
	List	   *grants = NIL;
	bool		isnull;
	Datum		datum = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl,
										&isnull);
	Acl		   *acl = isnull ? NULL : DatumGetAclPCopy(datum);

	for (int i = 0; acl != NULL && i < ACL_NUM(acl); i++)
	{
		if (ACL_DAT(acl)[i].ai_grantee != owner)
			grants = add_grant(grants, name, &ACL_DAT(acl)[i]);
	}
	ReleaseSysCache(tuple);
	return grants;
}

/*
 * Put an identity column in the place of a serial one; the number that its
 * sequence has given last, when nobody draws one any more.
 */
static int64
replace_default(const char *table, const char *column,
				const StreamParts *parts)
{
	Oid			sequence = parts->sequence;
	char	   *name = TableNameOf(sequence);
	char	   *options = options_of(sequence, parts->position_type);
	List	   *grants = grants_on(sequence);
	ListCell   *cell;
	int64		last;

	/* that has locked partitions as well */
	RunUtility(psprintf("ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT", table,
						column));
	last = SequenceLastNumber(sequence);
	RunUtility(psprintf("DROP SEQUENCE %s", name));
	RunUtility(psprintf("ALTER TABLE %s ALTER COLUMN %s ADD GENERATED ALWAYS AS IDENTITY (%s)",
						table, column, options));
	foreach(cell, grants)
		RunUtility(lfirst(cell));
	return last;
}

/* Have the identity column's sequence go on above all numbers there are. */
static void
go_on_above(Oid relid, StreamParts *parts, int64 last)
{
	Relation	relation = relation_open(relid, NoLock);
	int64		above;

	parts->sequence = compat_getIdentitySequence(relation, parts->position,
												 false);
	above = StreamNumberAbove(relation, parts);
	relation_close(relation, NoLock);
	(void) DirectFunctionCall3(setval3_oid,
							   ObjectIdGetDatum(parts->sequence),
							   Int64GetDatum(Max(last, above) + 1),
							   BoolGetDatum(false));
}

/*
 * Make the position column GENERATED ALWAYS AS IDENTITY.  The current role
 * owns the table, has locked it exclusively, and has closed it.
 */
void
GuardByIdentity(Oid relid, const StreamParts *parts)
{
	const char *column = quote_identifier(get_attname(relid, parts->position, false));
	const char *table = TableNameOf(relid);
	StreamParts now = *parts;
	Relation	relation = relation_open(relid, NoLock);
	bool		is_identity =
		TupleDescAttr(RelationGetDescr(relation), parts->position - 1)->attidentity != '\0';
	int64		last;

	check_children(relation);
	relation_close(relation, NoLock);
	if (is_identity)
	{
		RunUtility(psprintf("ALTER TABLE %s ALTER COLUMN %s SET GENERATED ALWAYS",
							table, column));
		last = SequenceLastNumber(parts->sequence);
	}
	else
		last = replace_default(table, column, parts);
	go_on_above(relid, &now, last);
}
