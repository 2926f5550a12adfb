/*
 * rename.c
 *		Two tables exchange their names, and what depends on the old one moves.
 *
 * What has to be done is asked of the catalogs as statements, before anything is
 * renamed: what PostgreSQL prints of a view or of a trigger has the old table's name
 * in it, and means the new table once that has the name.  Then the tables get
 * their names, then the statements are run, as the caller.
 *
 * In the queries $1 is the old table, $2 the new one; old_name and new_name are
 * what they are called afterwards, each by the other one's name.
 */
#include "postgres.h"

#include "access/xact.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "promote/references.h"
#include "promote/rename.h"
#include "promote/sql.h"
#include "tableref.h"

#define NAMES \
	"WITH names AS (SELECT format('%I.%I', os.nspname, o.relname) AS new_name, format('%I.%I', ns.nspname, n.relname) AS old_name," \
	" o.relowner AS old_owner, o.relacl, o.relrowsecurity, o.relforcerowsecurity" \
	" FROM pg_class o JOIN pg_namespace os ON os.oid = o.relnamespace, pg_class n JOIN pg_namespace ns ON ns.oid = n.relnamespace" \
	" WHERE o.oid = $1 AND n.oid = $2) "

/* The public table belongs to whom it has belonged to. */
static const char *const owner =
"SELECT format('ALTER TABLE %s OWNER TO %I', n.oid::regclass, pg_get_userbyid(o.relowner)) FROM pg_class n, pg_class o"
" WHERE o.oid = $1 AND n.oid = $2 AND o.relowner <> n.relowner";

static const char *const views =
"SELECT format('CREATE OR REPLACE VIEW %s %s AS %s', v.oid::regclass,"
" 'WITH (' || (SELECT string_agg(option_name || '=' || quote_literal(option_value), ', ') FROM pg_options_to_table(v.reloptions)) || ')',"
" pg_get_viewdef(v.oid))"
" FROM pg_class v WHERE v.relkind = 'v' AND EXISTS (SELECT FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid"
" WHERE r.ev_class = v.oid AND r.rulename = '_RETURN' AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1) ORDER BY v.oid";

#define GRANTEE "CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END"
#define OPTION "CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"

/* What others were granted on the new table gives way to what they had. */
static const char *const grants =
NAMES
"SELECT format('REVOKE ALL ON TABLE %s FROM %s CASCADE', new_name, " GRANTEE ")"
" FROM names, pg_class n, aclexplode(n.relacl) g WHERE n.oid = $2 AND grantee <> old_owner"
" UNION ALL SELECT format('GRANT %s ON TABLE %s TO %s%s', privilege_type, new_name, " GRANTEE ", " OPTION ")"
" FROM names, aclexplode(relacl) g WHERE grantee <> old_owner"
" UNION ALL SELECT format('GRANT %s (%I) ON TABLE %s TO %s%s', privilege_type, a.attname, new_name, " GRANTEE ", " OPTION ")"
" FROM names, pg_attribute a JOIN pg_attribute b ON b.attrelid = $2 AND b.attname = a.attname AND NOT b.attisdropped, aclexplode(a.attacl) g"
" WHERE a.attrelid = $1 AND NOT a.attisdropped AND a.attnum > 0";

static const char *const comments =
NAMES
"SELECT format('COMMENT ON TABLE %s IS %L', new_name, obj_description($1, 'pg_class')) FROM names"
" WHERE obj_description($1, 'pg_class') IS NOT NULL AND obj_description($2, 'pg_class') IS NULL"
" UNION ALL SELECT format('COMMENT ON COLUMN %s.%I IS %L', new_name, a.attname, col_description($1, a.attnum))"
" FROM names, pg_attribute a JOIN pg_attribute b ON b.attrelid = $2 AND b.attname = a.attname AND NOT b.attisdropped"
" WHERE a.attrelid = $1 AND NOT a.attisdropped AND a.attnum > 0"
" AND col_description($1, a.attnum) IS NOT NULL AND col_description($2, b.attnum) IS NULL";

static const char *const policies =
NAMES
"SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', new_name) FROM names WHERE relrowsecurity"
" UNION ALL SELECT format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', new_name) FROM names WHERE relforcerowsecurity"
" UNION ALL SELECT format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', polname, new_name,"
" CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,"
" CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,"
" (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ') FROM unnest(polroles) role))"
" || coalesce(' USING (' || pg_get_expr(polqual, polrelid) || ')', '') || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', '')"
" FROM names, pg_policy p WHERE polrelid = $1 AND NOT EXISTS (SELECT FROM pg_policy o WHERE o.polrelid = $2 AND o.polname = p.polname)";

static const char *const triggers =
NAMES
"SELECT s FROM names, pg_trigger, LATERAL (VALUES (format('DROP TRIGGER %I ON %s', tgname, old_name), 1), (pg_get_triggerdef(oid), 2),"
" (format('ALTER TABLE %s %s TRIGGER %I', new_name, CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END, tgname), 3)) v (s, step)"
" WHERE tgrelid = $1 AND NOT tgisinternal ORDER BY tgname, step";

static const char *const identity =
NAMES
"SELECT format('ALTER TABLE %s REPLICA IDENTITY FULL', new_name) FROM names, pg_class o, pg_class n"
" WHERE o.oid = $1 AND n.oid = $2 AND o.relreplident = 'f' AND n.relreplident <> 'f'";

/* a foreign key of a partitioned table cannot be added without its check */
static const char *const references =
"SELECT s FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid, LATERAL (VALUES"
" (format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname), 1),"
" (format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', ''))"
" || CASE WHEN t.relkind = 'p' AND c.convalidated THEN '' ELSE ' NOT VALID' END, 2)) v (s, step)"
" WHERE contype = 'f' AND confrelid = $1 AND conrelid <> $1 AND conparentid = 0 ORDER BY c.oid, step";

static const char *const publications =
NAMES
"SELECT s FROM names, pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid, LATERAL (VALUES"
" (format('ALTER PUBLICATION %I DROP TABLE %s', pubname, old_name), 1),"
" (format('ALTER PUBLICATION %I ADD TABLE %s', pubname, new_name)"
" || coalesce(' (' || (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = $1 AND attnum = ANY (prattrs)) || ')', '')"
" || coalesce(' WHERE (' || pg_get_expr(prqual, prrelid) || ')', ''), 2)) v (s, step)"
" WHERE prrelid = $1 AND NOT EXISTS (SELECT FROM pg_publication_rel o WHERE o.prrelid = $2 AND o.prpubid = r.prpubid) ORDER BY pubname, step";

/* Whom the statements below lock beside the two tables; where the caller may not, they fail. */
static const char *const dependants =
"SELECT c.oid FROM pg_class c WHERE pg_has_role(relowner, 'USAGE') AND (oid IN (SELECT conrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = $1 AND conrelid <> $1)"
" OR relkind = 'v' AND oid IN (SELECT ev_class FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid"
" WHERE r.rulename = '_RETURN' AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1)) ORDER BY oid";

static char *
rename_to(const char *schema, const char *from, const char *to)
{
	return psprintf("ALTER TABLE %s RENAME TO %s",
					quote_qualified_identifier(schema, from),
					quote_identifier(to));
}

static char *
move_to(const char *schema, const char *table, const char *to)
{
	return psprintf("ALTER TABLE %s SET SCHEMA %s",
					quote_qualified_identifier(schema, table),
					quote_identifier(to));
}

/*
 * Indexes and sequences of a table go to another schema with it, where the other
 * table's may have their names until these have left: for as long they have
 * names of their own.
 */
#define PARTS \
	" FROM pg_class p JOIN pg_class t ON t.oid = $1 WHERE p.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = $1" \
	" UNION SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = $1 AND deptype IN ('a', 'i'))" \
	" AND p.relkind IN ('i', 'S') ORDER BY p.oid"

static const char *const hide_parts =
"SELECT format('ALTER %s %s RENAME TO wallet_projection_moves_%s', CASE p.relkind WHEN 'i' THEN 'INDEX' ELSE 'SEQUENCE' END, p.oid::regclass, p.oid)" PARTS;

static const char *const show_parts =
"SELECT format('ALTER %s %I.wallet_projection_moves_%s RENAME TO %I', CASE p.relkind WHEN 'i' THEN 'INDEX' ELSE 'SEQUENCE' END,"
" (SELECT nspname FROM pg_class n JOIN pg_namespace s ON s.oid = n.relnamespace WHERE n.oid = $2), p.oid, p.relname)" PARTS;

/* Each table gets the other one's schema and name. */
static List *
renamings(Oid old, Oid new)
{
	char	   *schema_old = get_namespace_name(get_rel_namespace(old));
	char	   *schema_new = get_namespace_name(get_rel_namespace(new));
	char	   *name_old = get_rel_name(old);
	char	   *name_new = get_rel_name(new);
	char	   *moving_old = psprintf("wallet_projection_moves_%u", old);
	char	   *moving_new = psprintf("wallet_projection_moves_%u", new);
	List	   *statements = list_make2(rename_to(schema_old, name_old, moving_old),
										rename_to(schema_new, name_new, moving_new));

	if (strcmp(schema_old, schema_new) != 0)
	{
		statements = list_concat(statements, SqlTexts(hide_parts, old, new));
		statements = lappend(statements, move_to(schema_old, moving_old, schema_new));
		statements = lappend(statements, move_to(schema_new, moving_new, schema_old));
		statements = list_concat(statements, SqlTexts(show_parts, old, new));
	}
	statements = lappend(statements, rename_to(schema_new, moving_old, name_new));
	return lappend(statements, rename_to(schema_old, moving_new, name_old));
}

/*
 * Lock the views and tables that depend on the old table.  Whoever reads a view
 * has locked it before he waits for the table; so it is to be had only by those
 * who come for it before they lock the table.
 */
void
NamesLockDependants(Oid old)
{
	ListCell   *cell;
	List	   *oids = SqlTexts(dependants, old, InvalidOid);

	foreach(cell, oids)
		LockRelationOid((Oid) strtoul(lfirst(cell), NULL, 10),
						AccessExclusiveLock);
}

/*
 * Exchange the names of the tables, and move what depends on the old one.  The
 * caller holds ACCESS EXCLUSIVE on both, and has looked for obstacles.
 */
void
NamesSwap(Oid old, Oid new, bool with_triggers)
{
	const char *const what[] = {
		grants, comments, policies, views, references, identity, publications
	};
	List	   *valid = ReferencesValid(old, new);
	List	   *statements = list_concat(SqlTexts(owner, old, new),
										 renamings(old, new));

	if (with_triggers)
		statements = list_concat(statements, SqlTexts(triggers, old, new));
	for (int i = 0; i < lengthof(what); i++)
		statements = list_concat(statements, SqlTexts(what[i], old, new));
	SqlRun(statements);
	CommandCounterIncrement();
	ReferencesValidate(old, new, valid);
}
