/*
 * merge_table.c
 *		Which tables can be a stream, and which a read model.
 *
 * What a stream needs beside (a position column, an index) is its own matter.
 */
#include "postgres.h"

#include "compat.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "merge/merge_build.h"

typedef struct Refusal
{
	const char *detail;
	const char *hint;
} Refusal;

static Refusal
refusal_for(const char *detail, const char *hint)
{
	Refusal		refusal = {detail, hint};

	return refusal;
}

/* What a relation is, where that rules it out on both sides. */
static Refusal
refusal_of(Relation relation)
{
	Form_pg_class form = relation->rd_rel;

	switch (form->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_VIEW:
			return refusal_for("It is a view.", "Name the table itself.");
		case RELKIND_MATVIEW:
			return refusal_for("It is a materialized view, and has no events in order.",
							   "Use the table that it reads.");
		case RELKIND_FOREIGN_TABLE:
			return refusal_for("It is a foreign table: its changes and the positions cannot be committed together.",
							   "Use an ordinary table of this database.");
		default:
			return refusal_for("It is not a table.", "Name an ordinary table.");
	}
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		return refusal_for("It is a temporary table, which background workers cannot see.",
						   "Create it without TEMPORARY.");
	if (form->relpersistence == RELPERSISTENCE_UNLOGGED)
		return refusal_for("It is an unlogged table, which a crash empties.",
						   psprintf("Run: ALTER TABLE %s SET LOGGED;",
									QualifiedName(relation)));
	if (IsCatalogRelation(relation) ||
		RelationGetRelid(relation) < FirstNormalObjectId)
		return refusal_for("It is a system catalog.",
						   "Name a table of your own.");
	return refusal_for(NULL, NULL);
}

static Refusal
read_model_refusal(Relation relation, bool whole)
{
	Form_pg_class form = relation->rd_rel;
	Refusal		refusal = refusal_of(relation);

	if (refusal.detail != NULL)
		return refusal;
	if (form->relnamespace == get_namespace_oid(CATALOG_SCHEMA, true))
		return (Refusal)
	{
		"It is a table of the extension's own.",
			"Name a table of your own."
	};
	if (form->relkind == RELKIND_PARTITIONED_TABLE)
		return refusal_for("It is a partitioned table.",
						   "Use a table that is not partitioned.");
	if (form->relispartition)
		return refusal_for("It is a partition of another table.",
						   "Detach it, or use a table of its own.");
	if (has_superclass(RelationGetRelid(relation)))
		return refusal_for("It inherits from another table.",
						   "Use a table of its own.");
	if (whole && find_inheritance_children(RelationGetRelid(relation),
										   NoLock) != NIL)
		return refusal_for("Other tables inherit from it.",
						   "Use a table of its own.");
	if (relation->rd_rules != NULL)
		return refusal_for("It has rules.", "Drop its rules, or use triggers.");
	if (check_enable_rls(RelationGetRelid(relation), InvalidOid,
						 true) == RLS_ENABLED)
		return refusal_for("Its row-level security applies to the current user, so that rows would be missed.",
						   "Use ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, or create the projection as a role with BYPASSRLS.");
	return refusal;
}

/* alias: what the source calls it; NULL: it is the read model */
static void
refuse(const MergeBuild *build, Relation relation, const char *use,
	   Refusal refusal, const char *alias)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" cannot be %s", RelationGetRelationName(relation),
					use),
			 errdetail("%s", refusal.detail),
			 errhint("%s", refusal.hint),
			 alias ? MergePlaceOfTable(build, alias) :
			 MergePlaceOfReadModel(build)));
}

/*
 * The read model is an ordinary table.  Looked at before the statement is
 * analysed and rewritten: releases differ in what MERGE can change, and a view
 * would be replaced by its table.  A name that is unknown is the parser's
 * error.
 */
void
MergeCheckReadModel(MergeBuild *build)
{
	const RangeVar *name = MergeReadModelName(build);
	Relation	relation = relation_openrv_extended(name, RowExclusiveLock,
													true);
	Refusal		refusal;

	if (relation == NULL)
		return;
	refusal = read_model_refusal(relation, name->inh);
	if (refusal.detail != NULL)
		refuse(build, relation, "a read model", refusal, NULL);
	relation_close(relation, NoLock);
}

static Refusal
stream_refusal(MergeBuild *build, Relation relation, RangeTblEntry *rte,
			   Oid reader)
{
	Refusal		refusal = refusal_of(relation);

	if (refusal.detail != NULL)
		return refusal;
	if (rte->relid == build->merge->read_model)
		return refusal_for("It is the read model of the same definition.",
						   "A projection reads one table and keeps another.");
	if (rte->relkind == RELKIND_PARTITIONED_TABLE && !rte->inh)
		return refusal_for("ONLY a partitioned table has no rows.",
						   "Leave ONLY out.");
	if (rte->relkind == RELKIND_RELATION && rte->inh &&
		find_inheritance_children(rte->relid, NoLock) != NIL)
		return refusal_for("Other tables inherit from it, and their rows have numbers of their own.",
						   "Write ONLY before its name to read this table alone, or use a partitioned table.");
	if (check_enable_rls(rte->relid, reader, true) == RLS_ENABLED)
		return refusal_for("Its row-level security applies to the role that reads it, so that events would be missed.",
						   "Use ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, or create the projection as a role with BYPASSRLS.");
	return refusal;
}

/* The table that the source reads.  A view reads as its owner. */
void
MergeCheckStream(MergeBuild *build, Query *query, RangeTblEntry *rte)
{
	Relation	relation = table_open(rte->relid, NoLock);
	Refusal		refusal = stream_refusal(build, relation, rte,
										 compat_reader_of(query, rte));

	if (refusal.detail != NULL)
		refuse(build, relation, "a stream", refusal, rte->eref->aliasname);
	build->merge->stream_alone = rte->relkind == RELKIND_RELATION && !rte->inh;
	build->merge->stream = rte->relid;
	table_close(relation, NoLock);
}

/* A view, which the rewriter has made a sub-select of, only computes. */
void
MergeCheckView(MergeBuild *build, RangeTblEntry *rte)
{
	Relation	view;
	Refusal		refusal = {NULL, NULL};

	if (!OidIsValid(rte->relid))
		return;
	view = table_open(rte->relid, NoLock);
	if (rte->security_barrier)
		refusal = refusal_for("It is a view with security_barrier.",
							  "Create a view without security_barrier for the projection.");
	else if (RelationHasCheckOption(view))
		refusal = refusal_for("It is a view WITH CHECK OPTION.",
							  "Create a view without CHECK OPTION for the projection.");
	if (refusal.detail != NULL)
		refuse(build, view, "the source of a projection", refusal,
			   rte->eref->aliasname);
	table_close(view, NoLock);
}
