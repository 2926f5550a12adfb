/*
 * attached_table.c
 *		What kind of table may be attached as a stream.
 *
 * A permanent, ordinary or partitioned one, all of whose partitions or
 * children are permanent and ordinary: positions say what was applied, and rows
 * that a crash takes away, or that are in another server, cannot be under
 * them.  And the topmost one: writers of a partition's siblings draw numbers of
 * the same sequence.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "stream/attached.h"

Refusal *
MakeRefusal(int sqlerrcode, const char *detail, const char *hint)
{
	Refusal    *refusal = palloc(sizeof(Refusal));

	refusal->sqlerrcode = sqlerrcode;
	refusal->detail = detail;
	refusal->hint = hint;
	return refusal;
}

/* What a relation is that is no table, with an article. */
static const char *
kind_of(char relkind)
{
	switch (relkind)
	{
		case RELKIND_VIEW:
			return "a view";
		case RELKIND_MATVIEW:
			return "a materialized view";
		case RELKIND_FOREIGN_TABLE:
			return "a foreign table";
		case RELKIND_SEQUENCE:
			return "a sequence";
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return "an index";
		default:
			return "no table";
	}
}

static Refusal *
refuse_kind(Relation relation)
{
	char		relkind = relation->rd_rel->relkind;

	if (relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE)
		return NULL;
	return MakeRefusal(ERRCODE_WRONG_OBJECT_TYPE,
					   psprintf("It is %s.", kind_of(relkind)),
					   relkind == RELKIND_VIEW || relkind == RELKIND_MATVIEW ?
					   "Attach the table that it reads. A projection may read the table through the view." :
					   relkind == RELKIND_FOREIGN_TABLE ?
					   "Replicate its rows into a table of this server, and attach that." :
					   "Attach a table.");
}

static Refusal *
refuse_persistence(Relation relation)
{
	switch (relation->rd_rel->relpersistence)
	{
		case RELPERSISTENCE_PERMANENT:
			return NULL;
		case RELPERSISTENCE_UNLOGGED:
			return MakeRefusal(ERRCODE_FEATURE_NOT_SUPPORTED,
							   "It is unlogged: a crash of the server would empty it.",
							   psprintf("Run: ALTER TABLE %s SET LOGGED;",
										QualifiedName(relation)));
		default:
			return MakeRefusal(ERRCODE_FEATURE_NOT_SUPPORTED,
							   "It is temporary: background workers cannot read it.",
							   "Attach a permanent table.");
	}
}

/* The first table that this one is a partition or a child of. */
static Oid
parent_of(Oid relid)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	Oid			parent = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL,
							  1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return parent;
}

/* The topmost one; InvalidOid if there is none. */
Oid
TopmostParent(Oid relid)
{
	Oid			root = parent_of(relid);
	Oid			parent = root;

	while (OidIsValid(parent))
	{
		root = parent;
		parent = parent_of(root);
	}
	return root;
}

static Refusal *
refuse_member(Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	Oid			parent;
	Oid			extension;

	if (IsSystemRelation(relation))
		return MakeRefusal(ERRCODE_WRONG_OBJECT_TYPE,
						   "It is a system catalog.", "Attach a table of your own.");
	extension = getExtensionOfObject(RelationRelationId, relid);
	if (OidIsValid(extension))
		return MakeRefusal(ERRCODE_WRONG_OBJECT_TYPE,
						   psprintf("It belongs to extension \"%s\".",
									get_extension_name(extension)),
						   "Attach a table of your own.");
	parent = TopmostParent(relid);
	if (!OidIsValid(parent))
		return NULL;
	return MakeRefusal(ERRCODE_WRONG_OBJECT_TYPE,
					   psprintf("It is a %s of table \"%s\".",
								relation->rd_rel->relispartition ? "partition" : "child",
								TableNameOf(parent)),
					   relation->rd_rel->relispartition ?
					   psprintf("Attach the partitioned table: SELECT stream_attach(" STREAM_NAME ", %s);",
								quote_literal_cstr(TableNameOf(parent))) :
					   psprintf("Attach that table: SELECT stream_attach(" STREAM_NAME ", %s); Or run: ALTER TABLE %s NO INHERIT %s;",
								quote_literal_cstr(TableNameOf(parent)),
								QualifiedName(relation), TableNameOf(parent)));
}

/* The statement that takes a partition or child away. */
static const char *
detach_statement(Relation root, Oid child)
{
	const char *parent = TableNameOf(parent_of(child));

	return root->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
		psprintf("ALTER TABLE %s DETACH PARTITION %s;", parent, TableNameOf(child)) :
		psprintf("ALTER TABLE %s NO INHERIT %s;", TableNameOf(child), parent);
}

/* What is wrong with a partition or child of the table. */
static Refusal *
refuse_child(Relation root, Oid relid)
{
	const char *name = TableNameOf(relid);
	char		persistence = get_rel_persistence(relid);
	char		relkind = get_rel_relkind(relid);
	const char *what = root->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
		"partition" : "child";

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		return MakeRefusal(ERRCODE_FEATURE_NOT_SUPPORTED,
						   psprintf("Its %s \"%s\" is %s.", what, name, kind_of(relkind)),
						   psprintf("Run: %s", detach_statement(root, relid)));
	if (persistence == RELPERSISTENCE_UNLOGGED)
		return MakeRefusal(ERRCODE_FEATURE_NOT_SUPPORTED,
						   psprintf("Its %s \"%s\" is unlogged: a crash of the server would empty it.", what, name),
						   psprintf("Run: ALTER TABLE %s SET LOGGED;", name));
	if (persistence != RELPERSISTENCE_PERMANENT)
		return MakeRefusal(ERRCODE_FEATURE_NOT_SUPPORTED,
						   psprintf("Its %s \"%s\" is temporary: background workers cannot read it.", what, name),
						   psprintf("Run: %s", detach_statement(root, relid)));
	return NULL;
}

static Refusal *
refuse_children(Relation relation)
{
	Refusal    *refusal = NULL;
	List	   *relids;
	ListCell   *cell;

	if (!relation->rd_rel->relhassubclass)
		return NULL;
	relids = find_all_inheritors(RelationGetRelid(relation), AccessShareLock,
								 NULL);
	foreach(cell, relids)
	{
		if (refusal == NULL && lfirst_oid(cell) != RelationGetRelid(relation))
			refusal = refuse_child(relation, lfirst_oid(cell));
	}
	list_free(relids);
	return refusal;
}

/* Why the table is not of a kind that can be a stream; NULL: it is. */
Refusal *
AttachedTable(Relation relation)
{
	Refusal    *refusal = refuse_kind(relation);

	if (refusal == NULL)
		refusal = refuse_member(relation);
	if (refusal == NULL)
		refusal = refuse_persistence(relation);
	if (refusal == NULL)
		refusal = refuse_children(relation);
	return refusal;
}

/* A trigger that sees a row before it is inserted, and may change it; or NULL. */
static const char *
changing_trigger(Relation relation)
{
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) &&
			TRIGGER_FOR_BEFORE(trigger->tgtype) &&
			TRIGGER_FOR_INSERT(trigger->tgtype) &&
			trigger->tgenabled != TRIGGER_DISABLED)
			return trigger->tgname;
	}
	return NULL;
}

/*
 * Why it cannot be seen that rows keep the numbers that they were given: a
 * trigger may change them.
 */
Refusal *
AttachedTriggers(Relation relation, AttrNumber position)
{
	Oid			relid = RelationGetRelid(relation);
	List	   *relids = relation->rd_rel->relhassubclass ?
		find_all_inheritors(relid, AccessShareLock, NULL) : list_make1_oid(relid);
	Refusal    *refusal = NULL;
	ListCell   *cell;

	foreach(cell, relids)
	{
		Relation	table = relation_open(lfirst_oid(cell), NoLock);
		const char *trigger = changing_trigger(table);

		if (trigger != NULL && refusal == NULL)
			refusal = MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
								  psprintf("Trigger \"%s\" of table \"%s\" sees rows before they are inserted, and could change column \"%s\".",
										   trigger, QualifiedName(table),
										   get_attname(relid, position, false)),
								  psprintf("If it does not: SELECT stream_attach(" STREAM_NAME ", %s, %s, guard => 'trust');",
										   quote_literal_cstr(TableNameOf(relid)),
										   quote_literal_cstr(get_attname(relid, position, false))));
		relation_close(table, NoLock);
	}
	list_free(relids);
	return refusal;
}
