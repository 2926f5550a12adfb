/*
 * references.c
 *		Foreign keys that refer to tables whose rows have become others.
 *
 * New rows are checked by the constraint's triggers from the commit on.  Rows that
 * refer to the table already are checked by validating the constraint, which reads
 * all of them.  While that goes on nobody can read the read model, so it is done at
 * once only where they are few, and otherwise left to the user.
 *
 * A constraint that was not valid before, or is not enforced, stays so: its
 * rows are the user's own business.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "compat.h"
#include "promote/references.h"
#include "promote/sql.h"

/* bytes of a table that is read while others wait */
#define FEW_ROWS "8 * 1024 * 1024"

/* Foreign keys that refer to the table are not valid any more. */
void
ReferencesDoubt(Oid table)
{
	Relation	catalog = table_open(ConstraintRelationId, RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0,
										  NULL);
	HeapTuple	row;

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(row);
		HeapTuple	copy;

		if (form->contype != CONSTRAINT_FOREIGN || form->confrelid != table ||
			form->conrelid == table || !form->convalidated)
			continue;
		/* the parent's speaks for the partitions, and would not reach theirs */
		if (OidIsValid(form->conparentid) && !COMPAT_VALIDATES_PARTITIONS)
			continue;
		copy = heap_copytuple(row);
		((Form_pg_constraint) GETSTRUCT(copy))->convalidated = false;
		CatalogTupleUpdate(catalog, &copy->t_self, copy);
		CacheInvalidateRelcacheByRelid(form->conrelid);
	}
	systable_endscan(scan);
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

#define REFERENCES(which) \
	"SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', conrelid::regclass, conname)" \
	" FROM pg_constraint WHERE contype = 'f' AND confrelid IN ($1, $2) AND conrelid NOT IN ($1, $2)" \
	" AND conparentid = 0 AND pg_get_constraintdef(oid) NOT LIKE '% NOT ENFORCED' AND " which " ORDER BY conrelid, conname"

#define DOUBTED(few) \
	REFERENCES("NOT convalidated AND (SELECT sum(pg_relation_size(relid))" \
			   " FROM (SELECT relid FROM pg_partition_tree(conrelid) UNION SELECT conrelid) t) " few " " FEW_ROWS)

/* Those that are valid now, before anything is changed: for ReferencesValidate(). */
List *
ReferencesValid(Oid a, Oid b)
{
	return SqlTexts(REFERENCES("convalidated"), a, b);
}

/* Of these statements, those that are about a constraint that was valid. */
static List *
were_valid(List *statements, const List *valid)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, statements)
	{
		const ListCell *other;

		foreach(other, valid)
		{
			if (strcmp(lfirst(cell), lfirst(other)) == 0)
				result = lappend(result, lfirst(cell));
		}
	}
	return result;
}

/*
 * Validate again what was valid and has few rows.  A notice tells how to validate
 * those that have many, be it that an earlier promotion has left them so.
 */
void
ReferencesValidate(Oid a, Oid b, const List *valid)
{
	List	   *many = SqlTexts(DOUBTED(">"), a, b);
	ListCell   *cell;

	SqlRun(were_valid(SqlTexts(DOUBTED("<="), a, b), valid));
	foreach(cell, many)
		ereport(NOTICE,
				(errmsg("a foreign key that refers to the table has still to be validated"),
				 errdetail("New rows are checked. Rows that were there before are many, and are not read while others wait."),
				 errhint("Run: %s;", (char *) lfirst(cell))));
}
