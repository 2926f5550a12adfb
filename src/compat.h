/*
 * compat.h
 *		What differs between PostgreSQL 15 to 19, and nothing else.
 *
 * The only file that looks at PG_VERSION_NUM.  Include it after postgres.h
 * and before the headers whose calls it smooths over.
 */
#ifndef WALLET_PROJECTION_COMPAT_H
#define WALLET_PROJECTION_COMPAT_H

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "catalog/pg_namespace.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
/* 15 declares some callbacks without their arguments. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/planner.h"
#pragma GCC diagnostic pop
#if PG_VERSION_NUM < 160000
#include "executor/nodeModifyTable.h"
#endif
#include "parser/parse_relation.h"
#include "rewrite/rewriteManip.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 170000
#include "storage/procarray.h"
#else
#include "storage/sinvaladt.h"
#endif

/* 15 does not export anything by itself once symbols are hidden. */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

/* A function that SQL calls. */
#define SQL_FUNCTION(name) \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

#if PG_VERSION_NUM >= 190000
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0, SO_NONE)
#elif PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

#if PG_VERSION_NUM >= 190000
#define compat_table_beginscan(relation, snapshot, nkeys, keys) \
	table_beginscan(relation, snapshot, nkeys, keys, SO_NONE)
#else
#define compat_table_beginscan table_beginscan
#endif

#if PG_VERSION_NUM >= 190000
#define compat_table_tuple_delete(relation, tid, command, snapshot, wait, \
								  failure) \
	table_tuple_delete(relation, tid, command, 0, snapshot, InvalidSnapshot, \
					   wait, failure)
#define compat_table_tuple_update(relation, tid, slot, command, snapshot, \
								  failure, mode, indexes) \
	table_tuple_update(relation, tid, slot, command, 0, snapshot, \
					   InvalidSnapshot, true, failure, mode, indexes)
#else
#define compat_table_tuple_delete(relation, tid, command, snapshot, wait, \
								  failure) \
	table_tuple_delete(relation, tid, command, snapshot, InvalidSnapshot, \
					   wait, failure, false)
#define compat_table_tuple_update(relation, tid, slot, command, snapshot, \
								  failure, mode, indexes) \
	table_tuple_update(relation, tid, slot, command, snapshot, \
					   InvalidSnapshot, true, failure, mode, indexes)
#endif

/* Remove what no snapshot sees from a page. */
static inline void
compat_heap_page_prune_opt(Relation relation, Buffer buffer)
{
#if PG_VERSION_NUM >= 190000
	Buffer		visible = InvalidBuffer;

	heap_page_prune_opt(relation, buffer, &visible, false);
	if (BufferIsValid(visible))
		ReleaseBuffer(visible);
#else
	heap_page_prune_opt(relation, buffer);
#endif
}

#if PG_VERSION_NUM >= 190000
#define compat_pg_plan_query(query, text) \
	pg_plan_query(query, text, 0, NULL, NULL)
#define compat_standard_planner(query, text, options) \
	standard_planner(query, text, options, NULL, NULL)
#else
#define compat_pg_plan_query(query, text) pg_plan_query(query, text, 0, NULL)
#define compat_standard_planner(query, text, options) \
	standard_planner(query, text, options, NULL)
#endif

/* Does VALIDATE CONSTRAINT of a foreign key go on to the partitions' own? */
#define COMPAT_VALIDATES_PARTITIONS (PG_VERSION_NUM >= 180000)

/* Has the table columns whose values are not stored? */
#if PG_VERSION_NUM >= 180000
#define compat_has_virtual(constraints) ((constraints)->has_generated_virtual)
#else
#define compat_has_virtual(constraints) false
#endif
#define compat_has_virtual_columns(relation) \
	(RelationGetDescr(relation)->constr != NULL && \
	 compat_has_virtual(RelationGetDescr(relation)->constr))

#if PG_VERSION_NUM >= 180000
#define compat_ExecutorRun(query) \
	ExecutorRun(query, ForwardScanDirection, 0)
#else
#define compat_ExecutorRun(query) \
	ExecutorRun(query, ForwardScanDirection, 0, true)
#endif

#if PG_VERSION_NUM >= 190000
#define compat_ExecInsertIndexTuples(rri, slot, estate, update, summarizing) \
	ExecInsertIndexTuples(rri, estate, \
						  ((update) ? EIIT_IS_UPDATE : 0) | \
						  ((summarizing) ? EIIT_ONLY_SUMMARIZING : 0), \
						  slot, NIL, NULL)
#elif PG_VERSION_NUM >= 160000
#define compat_ExecInsertIndexTuples(rri, slot, estate, update, summarizing) \
	ExecInsertIndexTuples(rri, slot, estate, update, false, NULL, NIL, \
						  summarizing)
#else
#define compat_ExecInsertIndexTuples(rri, slot, estate, update, summarizing) \
	ExecInsertIndexTuples(rri, slot, estate, update, false, NULL, NIL)
#endif

/* Which indexes get an entry of a row's new version. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes CompatUpdateIndexes;
#define compat_wants_index_update(u) ((u) != TU_None)
#define compat_only_summarizing(u) ((u) == TU_Summarizing)
#else
typedef bool CompatUpdateIndexes;
#define compat_wants_index_update(u) (u)
#define compat_only_summarizing(u) false
#endif

#if PG_VERSION_NUM >= 160000
#define compat_EvalPlanQualInit(epqstate, estate) \
	EvalPlanQualInit(epqstate, estate, NULL, NIL, -1, NIL)
#else
#define compat_EvalPlanQualInit(epqstate, estate) \
	EvalPlanQualInit(epqstate, estate, NULL, NIL, -1)
#endif

/* The sequence of an identity column. */
#if PG_VERSION_NUM >= 170000
#define compat_getIdentitySequence(relation, column, missing_ok) \
	getIdentitySequence(relation, column, missing_ok)
#else
#define compat_getIdentitySequence(relation, column, missing_ok) \
	getIdentitySequence(RelationGetRelid(relation), column, missing_ok)
#endif

/* Is a role, or the current one, the relation's owner, or a member of it? */
#if PG_VERSION_NUM >= 160000
#define compat_role_owns_relation(relid, role) \
	object_ownercheck(RelationRelationId, relid, role)
#else
#define compat_role_owns_relation(relid, role) \
	pg_class_ownercheck(relid, role)
#endif
#define compat_owns_relation(relid) \
	compat_role_owns_relation(relid, GetUserId())

/* May a role create tables in this schema? */
#if PG_VERSION_NUM >= 160000
#define compat_role_may_create_in(schema, role) \
	(object_aclcheck(NamespaceRelationId, schema, role, \
					 ACL_CREATE) == ACLCHECK_OK)
#else
#define compat_role_may_create_in(schema, role) \
	(pg_namespace_aclcheck(schema, role, ACL_CREATE) == ACLCHECK_OK)
#endif
#define compat_may_create_in(schema) \
	compat_role_may_create_in(schema, GetUserId())

/* May the current role use what is in this schema? */
#if PG_VERSION_NUM >= 160000
#define compat_may_use_schema(schema) \
	(object_aclcheck(NamespaceRelationId, schema, GetUserId(), \
					 ACL_USAGE) == ACLCHECK_OK)
#else
#define compat_may_use_schema(schema) \
	(pg_namespace_aclcheck(schema, GetUserId(), ACL_USAGE) == ACLCHECK_OK)
#endif

/* Begin a function that returns its rows in a tuplestore. */
#if PG_VERSION_NUM >= 160000
#define compat_InitMaterializedSRF(fcinfo) InitMaterializedSRF(fcinfo, 0)
#else
#define compat_InitMaterializedSRF(fcinfo) SetSingleFuncCall(fcinfo, 0)
#endif

/* The same for one whose rows are single values. */
#if PG_VERSION_NUM >= 160000
#define compat_InitScalarSRF(fcinfo) \
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC)
#else
#define compat_InitScalarSRF(fcinfo) \
	SetSingleFuncCall(fcinfo, SRF_SINGLE_USE_EXPECTED)
#endif

/* May partitions have identity columns, which are then their parents'? */
#if PG_VERSION_NUM >= 170000
#define compat_partitions_have_identity true
#else
#define compat_partitions_have_identity false
#endif

/* A range of these bounds. */
#if PG_VERSION_NUM >= 160000
#define compat_make_range(type, lower, upper) \
	make_range(type, lower, upper, false, NULL)
#else
#define compat_make_range(type, lower, upper) \
	make_range(type, lower, upper, false)
#endif

/* The process behind a virtual transaction id, or NULL. */
static inline PGPROC *
compat_vxid_proc(const VirtualTransactionId *vxid)
{
#if PG_VERSION_NUM >= 170000
	return ProcNumberGetProc(vxid->procNumber);
#else
	return BackendIdGetProc(vxid->backendId);
#endif
}

/* 16 tells why a row was not deleted, 18 whether it is for a MERGE */
#if PG_VERSION_NUM >= 180000
#define compat_ExecBRDeleteTriggers(estate, epqstate, target, tid) \
	ExecBRDeleteTriggers(estate, epqstate, target, tid, NULL, NULL, NULL, NULL, false)
#elif PG_VERSION_NUM >= 160000
#define compat_ExecBRDeleteTriggers(estate, epqstate, target, tid) \
	ExecBRDeleteTriggers(estate, epqstate, target, tid, NULL, NULL, NULL, NULL)
#else
#define compat_ExecBRDeleteTriggers(estate, epqstate, target, tid) \
	ExecBRDeleteTriggers(estate, epqstate, target, tid, NULL, NULL)
#endif

/*
 * 15 prepares generated columns once, for what comes first; all of them are
 * needed if that is an update and an insert follows.
 */
#if PG_VERSION_NUM >= 160000
#define compat_init_generated(target, estate) ((void) 0)
#else
#define compat_init_generated(target, estate) \
	ExecInitStoredGenerated(target, estate, CMD_INSERT)
#endif

/* Does our own transaction hold this lock? */
#if PG_VERSION_NUM >= 170000
#define compat_LockHeldByMe(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define compat_LockHeldByMe(tag, mode) LockHeldByMe(tag, mode)
#endif

/* The transaction that this process runs now. */
#if PG_VERSION_NUM >= 170000
#define compat_proc_lxid(proc) ((proc)->vxid.lxid)
#else
#define compat_proc_lxid(proc) ((proc)->lxid)
#endif

/*
 * Put one relation, of which these columns may be updated, into the range
 * table of an executor state.
 */
static inline void
compat_init_range_table(EState *estate, Relation rel, Bitmapset *columns)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
#if PG_VERSION_NUM >= 160000
	List	   *perminfos = NIL;
#endif

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(&perminfos, rte)->updatedCols = columns;
#else
	rte->updatedCols = columns;
#endif
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(rte), perminfos,
					   bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	ExecInitRangeTable(estate, list_make1(rte), perminfos);
#else
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/* What a JSON constructor prints; the type that a JSON expression reads. */
#if PG_VERSION_NUM >= 160000
#define compat_json_printed(node) \
	(IsA(node, JsonConstructorExpr) ? \
	 ((JsonConstructorExpr *) (node))->args : NIL)
#else
#define compat_json_printed(node) NIL
#endif
#if PG_VERSION_NUM >= 170000
#define compat_json_read(node) \
	(IsA(node, JsonExpr) ? ((JsonExpr *) (node))->returning->typid : \
	 InvalidOid)
#else
#define compat_json_read(node) InvalidOid
#endif

/* What ON compares, in an analysed MERGE. */
#if PG_VERSION_NUM >= 170000
#define compat_merge_condition(query) ((query)->mergeJoinCondition)
#else
#define compat_merge_condition(query) ((query)->jointree->quals)
#endif

/* Of a WHEN: is it WHEN MATCHED; is it WHEN NOT MATCHED BY SOURCE? */
#if PG_VERSION_NUM >= 170000
#define compat_when_matched(action) \
	((action)->matchKind == MERGE_WHEN_MATCHED)
#define compat_when_without_source(action) \
	((action)->matchKind == MERGE_WHEN_NOT_MATCHED_BY_SOURCE)
#else
#define compat_when_matched(action) ((action)->matched)
#define compat_when_without_source(action) false
#endif

/* Of an ON CONFLICT, or NULL: does it give back the row that is there? */
#if PG_VERSION_NUM >= 190000
#define compat_conflict_selects(conflict) \
	((conflict) != NULL && (conflict)->action == ONCONFLICT_SELECT)
#else
#define compat_conflict_selects(conflict) false
#endif

/* Is the column generated, but not stored in rows? */
#if PG_VERSION_NUM >= 180000
#define compat_is_virtual(attribute) \
	((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define compat_is_virtual(attribute) false
#endif

#if PG_VERSION_NUM >= 160000
#define compat_flatten_join_alias_vars(query, node) \
	flatten_join_alias_vars(NULL, query, node)
#else
#define compat_flatten_join_alias_vars(query, node) \
	flatten_join_alias_vars(query, node)
#endif

/* Put a sub-select's expressions where its columns are used. */
#if PG_VERSION_NUM >= 180000
#define compat_substitute(node, rtindex, rte, targets) \
	ReplaceVarsFromTargetList(node, rtindex, 0, rte, targets, 0, \
							  REPLACEVARS_REPORT_ERROR, 0, NULL)
#else
#define compat_substitute(node, rtindex, rte, targets) \
	ReplaceVarsFromTargetList(node, rtindex, 0, rte, targets, \
							  REPLACEVARS_REPORT_ERROR, 0, NULL)
#endif

/* The columns of a range table entry, dropped ones included. */
#if PG_VERSION_NUM >= 180000
#define compat_expand_rte(rte, rtindex, location, columns) \
	expandRTE(rte, rtindex, 0, VAR_RETURNING_DEFAULT, location, true, NULL, \
			  columns)
#else
#define compat_expand_rte(rte, rtindex, location, columns) \
	expandRTE(rte, rtindex, 0, location, true, NULL, columns)
#endif

/* The outer joins that can make a column null: known since 16. */
#if PG_VERSION_NUM >= 160000
#define compat_set_nulling_joins(var, joins) ((var)->varnullingrels = (joins))
#else
#define compat_set_nulling_joins(var, joins) ((void) 0)
#endif

/* A range table entry that is no relation any more has no rights to check. */
#if PG_VERSION_NUM >= 160000
#define compat_forget_rights(query, rte) ((rte)->perminfoindex = 0)
#define compat_forget_all_rights(query) ((query)->rteperminfos = NIL)
#else
#define compat_forget_rights(query, rte) ((rte)->requiredPerms = 0)
#define compat_forget_all_rights(query) ((void) 0)
#endif

/* A plan for a query of our own, which may read what it reads. */
static inline PlannedStmt *
compat_plan_trusted(Query *query, const char *statement)
{
	PlannedStmt *plan = compat_pg_plan_query(query, statement);
	ListCell   *cell;

	foreach(cell, plan->rtable)
		compat_forget_rights(plan, lfirst_node(RangeTblEntry, cell));
#if PG_VERSION_NUM >= 160000
	plan->permInfos = NIL;
#endif
	return plan;
}

/* The role that reads a relation; InvalidOid: the current one. */
#if PG_VERSION_NUM >= 160000
#define compat_reader_of(query, rte) \
	((rte)->perminfoindex == 0 ? InvalidOid : \
	 getRTEPermissionInfo((query)->rteperminfos, rte)->checkAsUser)
#else
#define compat_reader_of(query, rte) ((rte)->checkAsUser)
#endif

/* The rights on relations that a query needs, as one role; its sub-queries' not. */
static inline void
compat_check_query_rights(Query *query, Oid role)
{
#if PG_VERSION_NUM >= 160000
	List	   *infos = copyObject(query->rteperminfos);
#else
	List	   *infos = copyObject(query->rtable);
#endif
	ListCell   *cell;

	foreach(cell, infos)
	{
#if PG_VERSION_NUM >= 160000
		RTEPermissionInfo *info = lfirst_node(RTEPermissionInfo, cell);
#else
		RangeTblEntry *info = lfirst_node(RangeTblEntry, cell);
#endif

		if (!OidIsValid(info->checkAsUser))
			info->checkAsUser = role;
	}
#if PG_VERSION_NUM >= 160000
	ExecCheckPermissions(query->rtable, infos, true);
#else
	ExecCheckRTPerms(infos, true);
#endif
}

/* How many of a table's pages are frozen: counted since 18. */
#if PG_VERSION_NUM >= 180000
#define compat_exchange_allfrozen(a, b) \
	do { \
		int32		exchanged_ = (a)->relallfrozen; \
		(a)->relallfrozen = (b)->relallfrozen; \
		(b)->relallfrozen = exchanged_; \
	} while (0)
#else
#define compat_exchange_allfrozen(a, b) ((void) 0)
#endif

#if PG_VERSION_NUM >= 190000
#define compat_DomainHasConstraints(type) DomainHasConstraints(type, NULL)
typedef const Var CompatReplacedVar;
#else
#define compat_DomainHasConstraints(type) DomainHasConstraints(type)
typedef Var CompatReplacedVar;
#endif

/* A jsonb in the making, to be zeroed first: 19 has a struct for it. */
#if PG_VERSION_NUM >= 190000
#define compat_pushJsonbValue pushJsonbValue
#else
typedef struct JsonbInState
{
	JsonbValue *result;
	JsonbParseState *parseState;
} JsonbInState;

static inline void
compat_pushJsonbValue(JsonbInState *state, JsonbIteratorToken token,
					  JsonbValue *value)
{
	state->result = pushJsonbValue(&state->parseState, token, value);
}
#endif

/* From a signal handler: end this process as SIGTERM does. */
static inline void
compat_die(void)
{
#if PG_VERSION_NUM >= 190000
	pg_signal_info nobody = {0};

	die(SIGTERM, &nobody);
#else
	die(SIGTERM);
#endif
}

#ifndef PG_SIG_IGN
#define PG_SIG_IGN SIG_IGN
#endif

#endif							/* WALLET_PROJECTION_COMPAT_H */
