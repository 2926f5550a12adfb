/*
 * obstacles.c
 *		What stands against a promotion.
 *
 * Where tables exchange their names, whatever depends on the old one by its OID
 * has to be moved.  What can be is known: views, foreign keys that refer to it,
 * publications, and what is a part of the table.  Everything else is an obstacle, also
 * what a later release of PostgreSQL may invent.
 */
#include "postgres.h"

#include "promote/obstacles.h"
#include "promote/sql.h"

/* Dependants of the old table that are neither its parts nor can be moved. */
static const char *const not_moved =
"SELECT DISTINCT CASE WHEN v.relkind = 'm' THEN format('materialized view %s', v.oid::regclass)"
" WHEN v.relpersistence = 't' THEN format('temporary view %s', v.oid::regclass)"
" WHEN r.rulename = '_RETURN' AND v.relkind = 'v' THEN format('view %s, which belongs to role %I', v.oid::regclass, pg_get_userbyid(v.relowner))"
" WHEN p.oid IS NOT NULL THEN format('function %s, whose body is BEGIN ATOMIC', p.oid::regprocedure)"
" ELSE pg_describe_object(d.classid, d.objid, 0) END AS what"
" FROM pg_depend d"
" LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid"
" LEFT JOIN pg_class v ON v.oid = r.ev_class"
" LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid"
" WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.deptype = 'n'"
" AND NOT (r.rulename = '_RETURN' AND v.relkind = 'v' AND v.relpersistence <> 't' AND pg_has_role(v.relowner, 'USAGE')) IS TRUE"
" AND NOT EXISTS (SELECT FROM pg_constraint c WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid AND (c.contype = 'f' OR c.conrelid = $1))"
" AND NOT EXISTS (SELECT FROM pg_trigger t WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid AND (t.tgrelid = $1 OR t.tgisinternal))"
" AND NOT EXISTS (SELECT FROM pg_policy o WHERE d.classid = 'pg_policy'::regclass AND o.oid = d.objid AND o.polrelid = $1)"
" AND NOT EXISTS (SELECT FROM pg_attrdef a WHERE d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid AND a.adrelid = $1)"
" AND NOT EXISTS (SELECT FROM pg_index i WHERE d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid AND i.indrelid = $1)"
" AND d.classid <> 'pg_publication_rel'::regclass"
" ORDER BY what";

static const char *const of_row_type =
"SELECT DISTINCT format('%s, which uses the row type of table %s', pg_describe_object(d.classid, d.objid, d.objsubid), $1::regclass) AS what"
" FROM pg_class c JOIN pg_type t ON t.oid = c.reltype"
" JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype <> 'i'"
" WHERE c.oid = $1 AND NOT EXISTS (SELECT FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class"
" WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND v.relkind = 'v' AND r.rulename = '_RETURN')"
" ORDER BY what";

static const char *const other =
"SELECT format('table %s, which inherits from %s', inhrelid::regclass, inhparent::regclass) FROM pg_inherits WHERE inhparent IN ($1, $2)"
" UNION ALL SELECT format('table %s, which is a member of extension \"%s\"', d.objid::regclass, e.extname)"
" FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass"
" WHERE d.classid = 'pg_class'::regclass AND d.objid IN ($1, $2) AND d.deptype = 'e'"
" UNION ALL SELECT format('table %s, which a subscription writes to', srrelid::regclass) FROM pg_subscription_rel WHERE srrelid IN ($1, $2)"
" UNION ALL SELECT format('trigger \"%s\" of table %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE tgconstrrelid = $1 AND NOT tgisinternal"
" ORDER BY 1";

/* Views that use columns which the new table does not have. */
static const char *const views =
"SELECT DISTINCT format('view %s, which uses column \"%s\"', v.oid::regclass, a.attname) AS what"
" FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'"
" JOIN pg_attribute a ON a.attrelid = $1 AND a.attnum = d.refobjsubid"
" WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1"
" AND NOT EXISTS (SELECT FROM pg_attribute b WHERE b.attrelid = $2 AND b.attname = a.attname AND NOT b.attisdropped)"
" ORDER BY what";

#define SORTED_NAMES(keys, table) \
	"(SELECT array_agg(attname ORDER BY attname) FROM pg_attribute WHERE attrelid = " table " AND attnum = ANY (" keys "))"

/* Foreign keys that refer to columns which are not unique in the new table. */
static const char *const references =
"SELECT format('foreign key \"%s\" of table %s', conname, conrelid::regclass) FROM pg_constraint"
" WHERE contype = 'f' AND confrelid = $1 AND conrelid <> $1 AND conparentid = 0"
" AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = $2 AND indisunique AND indimmediate AND indisvalid AND indpred IS NULL AND indexprs IS NULL"
" AND " SORTED_NAMES("(indkey::int2[])[0:indnkeyatts - 1]", "$2") " = " SORTED_NAMES("confkey", "$1") ")"
" ORDER BY 1";

/*
 * What would still mean the old table after it has lost its name, or has to keep
 * it; each in words.
 */
List *
ObstaclesToNames(Oid old, Oid new)
{
	List	   *found = SqlTexts(not_moved, old, new);

	found = list_concat(found, SqlTexts(of_row_type, old, new));
	found = list_concat(found, SqlTexts(views, old, new));
	found = list_concat(found, SqlTexts(references, old, new));
	return list_concat(found, SqlTexts(other, old, new));
}

/*
 * Copies that other servers have of the rows: nobody tells them that all rows are
 * others.
 */
List *
ObstaclesToRows(Oid old, Oid new)
{
	return SqlTexts("SELECT DISTINCT format('table %s, of which subscribers of publication \"%s\" may have a copy', c.oid::regclass, p.pubname)"
					" FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname"
					" JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename"
					" WHERE c.oid IN ($1, $2) AND EXISTS (SELECT FROM pg_replication_slots WHERE slot_type = 'logical' AND database = current_database())"
					" ORDER BY 1", old, new);
}
