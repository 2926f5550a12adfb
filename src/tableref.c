/*
 * tableref.c
 *		Which table a row of the extension's catalog means.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog_row.h"
#include "tableref.h"

/*
 * This installation of the extension: the server, the database, and the
 * catalog's schema, which DROP EXTENSION takes along.
 */
static char *
this_installation(Relation catalog)
{
	return psprintf("%llu/%u/%u", (unsigned long long) GetSystemIdentifier(),
					MyDatabaseId, RelationGetNamespace(catalog));
}

/* The reference in a row of this catalog. */
TableRef
TableRefRead(Relation catalog, TableRefColumns columns, const Datum *values,
			 const bool *nulls)
{
	TableRef	ref = {0};

	if (!nulls[columns.relid - 1])
		ref.relid = DatumGetObjectId(values[columns.relid - 1]);
	ref.schema = CatalogGetText(values, nulls, columns.schema);
	ref.name = CatalogGetText(values, nulls, columns.schema + 1);
	ref.new_schema = CatalogGetText(values, nulls, columns.schema + 2);
	ref.new_name = CatalogGetText(values, nulls, columns.schema + 3);
	ref.installation = CatalogGetText(values, nulls, columns.schema + 4);
	ref.here = ref.installation != NULL &&
		strcmp(ref.installation, this_installation(catalog)) == 0;
	return ref;
}

/* Put the reference into a row. */
void
TableRefWrite(const TableRef *ref, TableRefColumns columns, Datum *values,
			  bool *nulls)
{
	values[columns.relid - 1] = ObjectIdGetDatum(ref->relid);
	nulls[columns.relid - 1] = !OidIsValid(ref->relid);
	CatalogPutText(values, nulls, columns.schema, ref->schema);
	CatalogPutText(values, nulls, columns.schema + 1, ref->name);
	CatalogPutText(values, nulls, columns.schema + 2, ref->new_schema);
	CatalogPutText(values, nulls, columns.schema + 3, ref->new_name);
	CatalogPutText(values, nulls, columns.schema + 4, ref->installation);
}

/* A new reference to this table, to be written into this catalog. */
TableRef
TableRefOf(Relation catalog, Oid relid)
{
	TableRef	ref = {.relid = relid,.here = true};

	ref.schema = get_namespace_name(get_rel_namespace(relid));
	ref.name = get_rel_name(relid);
	ref.installation = this_installation(catalog);
	return ref;
}

/* What has this name; InvalidOid if nothing has. */
static Oid
find_named(const char *schema, const char *name)
{
	Oid			namespace;

	if (schema == NULL || name == NULL)
		return InvalidOid;
	namespace = get_namespace_oid(schema, true);
	return OidIsValid(namespace) ? get_relname_relid(name, namespace) :
		InvalidOid;
}

/*
 * The table that is meant.  InvalidOid: there is none; where the reference was
 * written here, it may also be the OID of a table that is gone.
 */
Oid
TableRefFind(const TableRef *ref)
{
	Oid			relid;

	if (ref->here)
		return ref->relid;
	relid = find_named(ref->new_schema, ref->new_name);
	return OidIsValid(relid) ? relid : find_named(ref->schema, ref->name);
}

static bool
is_named(Oid relid, const char *schema, const char *name)
{
	char	   *schema_now = get_namespace_name(get_rel_namespace(relid));
	char	   *name_now = get_rel_name(relid);

	return schema != NULL && name != NULL && schema_now != NULL &&
		name_now != NULL && strcmp(schema, schema_now) == 0 &&
		strcmp(name, name_now) == 0;
}

/* Has the table, which is there, to be written down anew? */
bool
TableRefIsStale(const TableRef *ref, Oid relid)
{
	if (!OidIsValid(relid) || get_rel_name(relid) == NULL)
		return false;
	if (ref->new_name != NULL)
		return !ref->here || !is_named(relid, ref->new_schema, ref->new_name);
	return !ref->here || !is_named(relid, ref->schema, ref->name);
}

/* Make the reference one that is true here; its first name stays. */
void
TableRefRenew(TableRef *ref, Relation catalog, Oid relid)
{
	ref->relid = relid;
	ref->here = true;
	ref->installation = this_installation(catalog);
	ref->new_schema = ref->new_name = NULL;
	if (is_named(relid, ref->schema, ref->name))
		return;
	ref->new_schema = get_namespace_name(get_rel_namespace(relid));
	ref->new_name = get_rel_name(relid);
}

/*
 * Another table that has the first name of this one; InvalidOid if there is
 * none.  A view may have it: somebody has renamed the table with care.
 */
Oid
TableRefUsurper(const TableRef *ref, Oid relid)
{
	Oid			found = find_named(ref->schema, ref->name);
	char		kind;

	if (!OidIsValid(found) || found == relid)
		return InvalidOid;
	kind = get_rel_relkind(found);
	return kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
		kind == RELKIND_FOREIGN_TABLE ? found : InvalidOid;
}

/* The table's name with its schema, as SQL writes it; NULL if it is gone. */
char *
TableNameOf(Oid relid)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = name == NULL ? NULL :
		get_namespace_name(get_rel_namespace(relid));

	return schema == NULL ? NULL : quote_qualified_identifier(schema, name);
}
