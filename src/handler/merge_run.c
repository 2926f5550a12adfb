/*
 * merge_run.c
 *		A Merge compiled.
 *
 * All expressions are planned once, as PostgreSQL does it for expressions
 * outside of a query: constants are folded and SQL functions put in line.
 * They are over two slots: the item is the outer one, the read model's row
 * the inner one.  No state is bound to a transaction, so a run can be kept;
 * descriptors are copies without a reference count, for the same reason.
 */
#include "postgres.h"

#include "compat.h"

#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "handler/merge_state.h"

/* The expression ready to be compiled, in the current memory context. */
Expr *
MergePlan(const Expr *expr)
{
	if (expr == NULL)
		return NULL;
	return expression_planner((Expr *) copyObjectImpl(expr));
}

static ExprState *
compile(Expr *expr)
{
	return expr == NULL ? NULL : ExecInitExpr(expr, NULL);
}

/*
 * Compile a condition as the executor does: what comes behind a null of an AND
 * is not evaluated either.
 */
static ExprState *
compile_condition(Expr *expr)
{
	return ExecInitQual(make_ands_implicit(expr), NULL);
}

/* Compile the values of columns. */
static void
compile_columns(RunColumn *columns, int ncolumns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		columns[i].value = compile(columns[i].expr);
		columns[i].item = MergeItemColumn(columns[i].expr);
	}
}

/* Empty a stage; what is compiled now belongs to it. */
static MemoryContext
begin_compile(MergeRun *run, RunStage *stage)
{
	stage->busy = false;
	ResetExprContext(stage->econtext);
	MemoryContextReset(stage->states);
	return MemoryContextSwitchTo(stage->states);
}

/* Compile what makes an item, again after an error. */
void
MergeCompileItems(MergeRun *run)
{
	MemoryContext old = begin_compile(run, &run->item_stage);

	run->passes = compile_condition(run->filter);
	for (int i = 0; i < run->nkeys; i++)
		run->key_values[i] = compile(run->key_exprs[i]);
	if (run->fan_out != NULL)
		FanOutForget(run->fan_out);
	MemoryContextSwitchTo(old);
}

/* Compile what changes the row, again after an error. */
void
MergeCompileRow(MergeRun *run)
{
	MemoryContext old = begin_compile(run, &run->row_stage);

	for (int i = 0; i < run->nkeys; i++)
		run->row_key[i] = compile(run->key_exprs[i]);
	for (int i = 0; i < run->nclauses; i++)
	{
		RunClause  *clause = &run->clauses[i];

		clause->holds = compile_condition(clause->condition);
		for (int k = 0; k < clause->nparts; k++)
			clause->parts[k].value = compile(clause->parts[k].expr);
		compile_columns(clause->columns, clause->ncolumns);
	}
	compile_columns(run->generated, run->ngenerated);
	MemoryContextSwitchTo(old);
}

static void
begin_stage(RunStage *stage)
{
	stage->states = AllocSetContextCreate(CurrentMemoryContext,
										  "compiled expressions",
										  ALLOCSET_SMALL_SIZES);
	stage->econtext = CreateStandaloneExprContext();
}

/* How the columns of a descriptor are passed and stored. */
static RunType *
types_of(TupleDesc desc)
{
	RunType    *types = palloc0_array(RunType, Max(desc->natts, 1));

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		types[i].length = attribute->attlen;
		types[i].byval = attribute->attbyval;
	}
	return types;
}

/* What an item consists of, where it is columns of the stream. */
static TupleDesc
plain_item(MergeRun *run, const Merge *merge, Relation stream)
{
	TupleDesc	whole = RelationGetDescr(stream);
	TupleDesc	desc = CreateTemplateTupleDesc(merge->item_width);

	run->source = palloc_array(AttrNumber, Max(merge->item_width, 1));
	for (int i = 0; i < merge->item_width; i++)
	{
		AttrNumber	column = merge->item_columns[i];

		run->source[i] = column;
		if (column == 0)
		{
			TupleDescInitEntry(desc, i + 1, NULL, whole->tdtypeid, -1, 0);
			run->last_source = whole->natts;
			continue;
		}
		TupleDescCopyEntry(desc, i + 1, whole, column);
		run->last_source = Max(run->last_source, column);
	}
	return desc;
}

static void
begin_items(MergeRun *run, const Merge *merge, Relation stream)
{
	TupleDesc	desc;

	if (merge->fan_out != NULL)
	{
		run->fan_out = FanOutBegin(merge, stream);
		desc = FanOutDescriptor(run->fan_out);
	}
	else
		desc = plain_item(run, merge, stream);
	run->width = desc->natts;
	run->item_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	run->item_stage.econtext->ecxt_outertuple = run->item_slot;
	run->filter = MergeTakeFirstTest(MergePlan(merge->filter),
									 &run->passes_test);
	run->nkeys = merge->key.ncolumns;
	for (int i = 0; i < run->nkeys; i++)
	{
		run->key_columns[i] = merge->key.columns[i];
		run->key_exprs[i] = MergePlan(merge->key.values[i]);
		run->key_item[i] = MergeItemColumn(run->key_exprs[i]);
		run->key_varlena[i] =
			get_typlen(exprType((Node *) run->key_exprs[i])) == -1;
		run->key_collation[i] = merge->key.collation[i];
		fmgr_info(get_opcode(merge->key.equality[i]), &run->key_equal[i]);
	}
}

/* The null of a domain that has a say in it, or NULL. */
static Expr *
null_of_domain(Form_pg_attribute attribute)
{
	int32		typmod = attribute->atttypmod;
	Oid			base;
	Node	   *null;

	if (attribute->attisdropped || attribute->attgenerated ||
		get_typtype(attribute->atttypid) != TYPTYPE_DOMAIN)
		return NULL;
	base = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	null = (Node *) makeNullConst(base, typmod, attribute->attcollation);
	return (Expr *) coerce_to_domain(null, base, typmod, attribute->atttypid,
									 COERCION_IMPLICIT, COERCE_IMPLICIT_CAST,
									 -1, false);
}

static void
add_column(RunClause *clause, AttrNumber column, const Expr *expr)
{
	RunColumn  *new = &clause->columns[clause->ncolumns++];

	new->at = column - 1;
	new->expr = MergePlan(expr);
}

/* Does the INSERT give the key's columns just what ON compares them with? */
static bool
sets_key(MergeRun *run, const RunClause *clause)
{
	for (int i = 0; i < run->nkeys; i++)
	{
		bool		same = false;

		for (int k = 0; k < clause->ncolumns && !same; k++)
			same = clause->columns[k].at == run->key_columns[i] - 1 &&
				equal(clause->columns[k].expr, run->key_exprs[i]) &&
				!contain_mutable_functions((Node *) run->key_exprs[i]);
		if (!same)
			return false;
	}
	return true;
}

static void
begin_clause(MergeRun *run, RunClause *clause, const MergeClause *from,
			 TupleDesc desc)
{
	Bitmapset  *set = NULL;
	ListCell   *lc;

	clause->matched = from->matched;
	clause->action = from->action;
	clause->condition = MergePlan(from->condition);
	MergeTakeTest(clause);
	clause->columns = palloc0_array(RunColumn, desc->natts);
	foreach(lc, from->columns)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		add_column(clause, entry->resno, entry->expr);
		set = bms_add_member(set, entry->resno);
	}
	if (clause->action != MERGE_DO_INSERT)
		return;
	for (int i = 0; i < desc->natts; i++)
	{
		Expr	   *null = bms_is_member(i + 1, set) ? NULL :
			null_of_domain(TupleDescAttr(desc, i));

		if (null != NULL)
			add_column(clause, i + 1, null);
	}
	clause->key_fits = sets_key(run, clause);
}

/* Items with the parts of all actions beside their own values. */
static void
begin_stored_slot(MergeRun *run)
{
	TupleDesc	item = run->item_slot->tts_tupleDescriptor;
	TupleDesc	desc;
	int			width = run->width;

	for (int i = 0; i < run->nclauses; i++)
		width = MergeTakeParts(&run->clauses[i], width);
	desc = CreateTemplateTupleDesc(width);
	for (int i = 1; i <= run->width; i++)
		TupleDescCopyEntry(desc, i, item, i);
	for (int i = 0; i < run->nclauses; i++)
	{
		for (int k = 0; k < run->clauses[i].nparts; k++)
		{
			RunPart    *part = &run->clauses[i].parts[k];
			Node	   *expr = (Node *) part->expr;

			TupleDescInitEntry(desc, part->at + 1, NULL, exprType(expr),
							   exprTypmod(expr), 0);
		}
	}
	run->stored_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	run->stored_types = types_of(desc);
	run->row_stage.econtext->ecxt_outertuple = run->stored_slot;
}

/* Stored generated columns, which are over the row as the inner slot. */
static void
begin_generated(MergeRun *run, Relation read_model)
{
	TupleDesc	desc = RelationGetDescr(read_model);

	run->generated = palloc0_array(RunColumn, desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		RunColumn  *column = &run->generated[run->ngenerated];
		Node	   *expr;

		if (TupleDescAttr(desc, i)->attgenerated != ATTRIBUTE_GENERATED_STORED)
			continue;
		expr = build_column_default(read_model, i + 1);
		ChangeVarNodes(expr, 1, MERGE_ROW, 0);
		column->at = i;
		column->expr = MergePlan((Expr *) expr);
		run->ngenerated++;
	}
}

static void
begin_row(MergeRun *run, const Merge *merge, Relation read_model)
{
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(read_model));
	int			i = 0;
	ListCell   *lc;

	run->natts = desc->natts;
	run->types = types_of(desc);
	run->places = palloc0_array(RunPlace, desc->natts);
	run->fresh = palloc0_array(Datum, desc->natts);
	run->fresh_nulls = palloc0_array(bool, desc->natts);
	run->row_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	run->row.slot = run->row_slot;
	run->row_slot->tts_tableOid = RelationGetRelid(read_model);
	run->row_stage.econtext->ecxt_innertuple = run->row_slot;
	run->nclauses = list_length(merge->clauses);
	run->clauses = palloc0_array(RunClause, Max(run->nclauses, 1));
	foreach(lc, merge->clauses)
		begin_clause(run, &run->clauses[i++], lfirst(lc), desc);
	begin_generated(run, read_model);
	begin_stored_slot(run);
}

/*
 * Compile a definition, as the role that is to run it: rights to execute
 * functions are checked here.  The run lives in a child of the current memory
 * context and keeps nothing of merge, and neither relation.  Not in a context
 * that outlives an error: MergeRunKeep() moves the run there.
 */
MergeRun *
MergeRunBegin(const Merge *merge, Relation stream, Relation read_model)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "compiled projection",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MergeRun   *run = palloc0_object(MergeRun);

	run->context = context;
	begin_stage(&run->item_stage);
	begin_stage(&run->row_stage);
	begin_stage(&run->tested_stage);
	begin_items(run, merge, stream);
	begin_row(run, merge, read_model);
	MergeFindSums(run);
	MergeBeginTested(run, merge);
	run->keeps_whole = merge->statement != NULL;
	MergeBeginLayouts(run);
	MergeCompileItems(run);
	MergeCompileRow(run);
	MemoryContextSwitchTo(old);
	return run;
}

/* Keep the run as long as this memory context. */
void
MergeRunKeep(MergeRun *run, MemoryContext context)
{
	MemoryContextSetParent(run->context, context);
}

void
MergeRunEnd(MergeRun *run)
{
	MergeRunClose(run);
	FreeExprContext(run->item_stage.econtext, true);
	FreeExprContext(run->row_stage.econtext, true);
	FreeExprContext(run->tested_stage.econtext, true);
	MemoryContextDelete(run->context);
}

/*
 * Begin a batch, or go on after an error.  The read model stays the caller's,
 * who has it open and locked until MergeRunClose().
 */
void
MergeRunOpen(MergeRun *run, Relation read_model)
{
	MergeRunItemsEnd(run);
	if (run->item_stage.busy)
		MergeCompileItems(run);
	if (run->row_stage.busy)
		MergeCompileRow(run);
	MergeCheckPrepare(run, read_model);
	run->keeps_sums = false;
	MergeRowBegin(run, NULL);
}

/* End a batch that has not failed. */
void
MergeRunClose(MergeRun *run)
{
	if (run->fan_out != NULL)
		FanOutClose(run->fan_out);
	MergeCheckForget(run);
	run->read_model = NULL;
}

/*
 * From now on constraints of the table are not checked: items are known to have
 * been applied.
 */
void
MergeRunUnchecked(MergeRun *run)
{
	run->unchecked = true;
}

/* Columns, by number, in which nulls stand for values that are not made. */
void
MergeRunUnknown(MergeRun *run, const Bitmapset *columns)
{
	run->unknown = columns;
}

/* Values for parameters that the expressions have, from now on. */
void
MergeRunParams(MergeRun *run, ParamListInfo params)
{
	run->item_stage.econtext->ecxt_param_list_info = params;
	run->row_stage.econtext->ecxt_param_list_info = params;
}
