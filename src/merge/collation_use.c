/*
 * collation_use.c
 *		Collations on which the result of an expression depends.
 *
 * Nearly every expression over text has a collation, and nearly none depends
 * on it: under a deterministic collation equality is equality of bytes.  It is
 * order, upper and lower case, and patterns that a new release of ICU or of the
 * C library may change.  If all collations counted, each upgrade of the
 * operating system would ask for a rebuild.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "merge/collation_use.h"

/* 17 has one column for the locale of each provider but the C library's */
#ifdef Anum_pg_collation_colllocale
#define COLLATION_LOCALE Anum_pg_collation_colllocale
#define DATABASE_LOCALE Anum_pg_database_datlocale
#else
#define COLLATION_LOCALE Anum_pg_collation_colliculocale
#define DATABASE_LOCALE Anum_pg_database_daticulocale
#endif

/* PostgreSQL's own functions that look at more than the bytes of a text. */
static const Oid sensitive[] = {
	F_TEXT_LT, F_TEXT_LE, F_TEXT_GT, F_TEXT_GE, F_BTTEXTCMP, F_TEXT_LARGER,
	F_TEXT_SMALLER, F_BPCHARLT, F_BPCHARLE, F_BPCHARGT, F_BPCHARGE,
	F_BPCHARCMP, F_BPCHAR_LARGER, F_BPCHAR_SMALLER,
	F_UPPER_TEXT, F_LOWER_TEXT, F_INITCAP,
	F_TEXTICLIKE, F_TEXTICNLIKE, F_BPCHARICLIKE, F_BPCHARICNLIKE,
	F_TEXTREGEXEQ, F_TEXTREGEXNE, F_TEXTICREGEXEQ, F_TEXTICREGEXNE,
	F_BPCHARREGEXEQ, F_BPCHARREGEXNE, F_BPCHARICREGEXEQ, F_BPCHARICREGEXNE,
	F_SUBSTRING_TEXT_TEXT, F_REGEXP_REPLACE_TEXT_TEXT_TEXT,
	F_REGEXP_REPLACE_TEXT_TEXT_TEXT_TEXT, F_REGEXP_MATCH_TEXT_TEXT,
	F_REGEXP_MATCH_TEXT_TEXT_TEXT, F_REGEXP_MATCHES_TEXT_TEXT,
	F_REGEXP_MATCHES_TEXT_TEXT_TEXT, F_REGEXP_SPLIT_TO_ARRAY_TEXT_TEXT,
	F_REGEXP_SPLIT_TO_ARRAY_TEXT_TEXT_TEXT,
	F_REGEXP_SPLIT_TO_TABLE_TEXT_TEXT,
	F_REGEXP_SPLIT_TO_TABLE_TEXT_TEXT_TEXT
};

static bool
is_sensitive(Oid function, void *unused)
{
	if (function >= FirstUnpinnedObjectId)
		return true;
	for (int i = 0; i < lengthof(sensitive); i++)
	{
		if (sensitive[i] == function)
			return true;
	}
	return false;
}

static char *
text_or_null(int cache, HeapTuple tuple, AttrNumber column)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(cache, tuple, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/*
 * The version of a collation, or of a database's, by PostgreSQL's function for
 * that; NULL: "C" has none.  Asked in this way, as the header of the function
 * behind it wants ICU's headers.
 */
static char *
version_of(Oid function, Oid object)
{
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo	info;
	Datum		version;

	fmgr_info(function, &info);
	InitFunctionCallInfoData(*fcinfo, &info, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(object);
	fcinfo->args[0].isnull = false;
	version = FunctionCallInvoke(fcinfo);
	return fcinfo->isnull ? NULL : TextDatumGetCString(version);
}

static char *
with_version(const char *name, char provider, const char *locale,
			 const char *version)
{
	return psprintf("collation %s, provider %c, locale %s, version %s", name,
					provider, locale == NULL ? "none" : locale,
					version == NULL ? "none" : version);
}

static char *
describe_database_collation(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID,
										ObjectIdGetDatum(MyDatabaseId));
	char		provider;
	char	   *description;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
	provider = ((Form_pg_database) GETSTRUCT(tuple))->datlocprovider;
	description = with_version("of the database", provider,
							   text_or_null(DATABASEOID, tuple,
											provider == COLLPROVIDER_LIBC ?
											Anum_pg_database_datcollate :
											DATABASE_LOCALE),
							   version_of(F_PG_DATABASE_COLLATION_ACTUAL_VERSION,
										  MyDatabaseId));
	ReleaseSysCache(tuple);
	return description;
}

static char *
describe_collation(Oid collation)
{
	HeapTuple	tuple;
	Form_pg_collation row;
	char	   *description;

	if (collation == DEFAULT_COLLATION_OID)
		return describe_database_collation();
	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	row = (Form_pg_collation) GETSTRUCT(tuple);
	description =
		with_version(quote_qualified_identifier(get_namespace_name(row->collnamespace),
												NameStr(row->collname)),
					 row->collprovider,
					 text_or_null(COLLOID, tuple,
								  row->collprovider == COLLPROVIDER_LIBC ?
								  Anum_pg_collation_collcollate :
								  COLLATION_LOCALE),
					 version_of(F_PG_COLLATION_ACTUAL_VERSION, collation));
	ReleaseSysCache(tuple);
	return description;
}

static bool
collations_walker(Node *node, List **collations)
{
	Oid			collation;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collations_walker,
								 collations, 0);
	collation = exprInputCollation(node);
	if (OidIsValid(collation) &&
		(IsA(node, MinMaxExpr) || IsA(node, RowCompareExpr) ||
		 !get_collation_isdeterministic(collation) ||
		 check_functions_in_node(node, is_sensitive, NULL)))
		*collations = list_append_unique_oid(*collations, collation);
	return expression_tree_walker(node, collations_walker, collations);
}

/* Descriptions with versions, in the order in which they are met. */
List *
CollationsOf(List *nodes)
{
	List	   *collations = NIL;
	List	   *descriptions = NIL;
	ListCell   *cell;

	(void) collations_walker((Node *) nodes, &collations);
	foreach(cell, collations)
		descriptions = lappend(descriptions,
							   describe_collation(lfirst_oid(cell)));
	return descriptions;
}
