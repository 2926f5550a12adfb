/*
 * merge_state.h
 *		What is inside a MergeRun, for the files that make one up.
 *
 * merge_run.c compiles, merge_items.c and merge_fan_out.c make items out of
 * events, merge_row.c applies them to a row, merge_check.c checks that row,
 * merge_shorten.c makes it cheap; merge_tested.c tells an item's type.
 */
#ifndef WALLET_PROJECTION_MERGE_STATE_H
#define WALLET_PROJECTION_MERGE_STATE_H

#include "nodes/execnodes.h"
#include "utils/jsonb.h"

#include "handler/merge_run.h"

/*
 * Expressions that are evaluated together.  An error may leave the states of
 * SQL functions half-way, so the states are made anew after one.
 */
typedef struct RunStage
{
	MemoryContext states;		/* the compiled expressions */
	ExprContext *econtext;
	bool		busy;			/* began to evaluate and has not ended */
} RunStage;

/* A column's new value. */
typedef struct RunColumn
{
	int			at;				/* in the row, from 0 */
	int			item;			/* the item's value that it is as it is; or -1 */
	Expr	   *expr;
	ExprState  *value;
	int			sign;			/* it is the column itself, plus (1) or minus
								 * (-1) a number of the item; or 0 */
	int			addend;			/* that number, from 0 */
	int			digits;			/* numeric(digits,scale); -1: any */
	int			scale;
} RunColumn;

/* A numeric column of the row as an integer, while items are applied. */
typedef struct RunSum
{
	bool		is_sum;			/* some clause adds to it */
	bool		live;			/* the value is here, not in the row */
	bool		added;			/* by the item at hand */
	int			scale;			/* decimal places that it shows */
	int64		number;			/* of ten-thousandths */
} RunSum;

/* A comparison of an item's column with a constant, by bytes. */
typedef struct RunTest
{
	int			at;				/* in the item, from 0; -1: no comparison */
	Datum		value;
	text	   *text;			/* the value, if it is text; else NULL */
} RunTest;

/* What an action computes of the item before its columns. */
typedef struct RunPart
{
	int			at;				/* where, beside the item's own values */
	Expr	   *expr;
	ExprState  *value;
	int			json;			/* a jsonb value of the item, if it is a
								 * number of type under a key of that; or -1 */
	char	   *key;
	int			key_length;
	Oid			type;
} RunPart;

typedef struct RunClause
{
	bool		matched;
	MergeActionKind action;
	RunTest		test;			/* holds if the condition does */
	bool		key_fits;		/* the INSERT sets the key to what ON says */
	Expr	   *condition;		/* beside test; or NULL: always */
	ExprState  *holds;
	int			nparts;
	RunPart    *parts;
	int			ncolumns;
	RunColumn  *columns;
	bool		tests_sum;		/* its condition reads a column that may be
								 * kept as a sum */
	bool		reads_sum;		/* so does its action, beside adding to it */
} RunClause;

/*
 * What is kept of items of one kind: columns of stored_slot, the item's own
 * first and then numbers of the clauses' parts.
 */
typedef struct RunLayout
{
	bool		tested;			/* fits and constants are known */
	uint64		fits;			/* clauses whose test holds */
	bool		numbers;		/* parts that are numbers are kept, all of
								 * them */
	int			ncolumns;
	int			nitem;			/* of these, the item's own */
	int		   *columns;
	int			nconstants;
	const RunTest **constants;	/* columns that are known by a test */
} RunLayout;

/* How values of a column are passed and stored. */
typedef struct RunType
{
	int16		length;
	bool		byval;
} RunType;

/*
 * Where a by-reference column's value lies.  There are two places: a new row
 * is made of the old one, so the old value must stay until all are there.
 */
typedef struct RunPlace
{
	char	   *memory[2];
	Size		size[2];
	int			current;
} RunPlace;

typedef struct FanOut FanOut;

struct MergeRun
{
	MemoryContext context;		/* the run's own */

	/* items */
	RunStage	item_stage;
	int			width;
	AttrNumber *source;			/* columns of the stream; NULL: fan out */
	AttrNumber	last_source;	/* the last one that has to be deformed */
	FanOut	   *fan_out;
	TupleTableSlot *item_slot;
	Expr	   *filter;
	ExprState  *passes;
	RunTest		passes_test;	/* the filter's first condition */
	int			nkeys;
	AttrNumber	key_columns[INDEX_MAX_KEYS];
	Expr	   *key_exprs[INDEX_MAX_KEYS];
	ExprState  *key_values[INDEX_MAX_KEYS];
	int			key_item[INDEX_MAX_KEYS];	/* the item's value that it is; or
											 * -1 */
	bool		key_varlena[INDEX_MAX_KEYS];

	/* the row */
	RunStage	row_stage;
	TupleTableSlot *stored_slot;	/* the item that is applied, and the parts
									 * of actions */
	int			stored_width;	/* of it */
	RunType    *stored_types;
	const RunLayout *loaded;	/* the layout of what is in it */
	int			nlayouts;
	RunLayout **layouts;
	RunLayout  *whole;			/* all columns */
	bool		keeps_whole;	/* a statement reads the items */
	const RunLayout *taken;		/* of the item that is being stored */
	Datum	   *taken_values;
	bool		taken_null;		/* one of them */
	int			numbers_used;
	char		numbers_kept[256] pg_attribute_aligned(MAXIMUM_ALIGNOF);
	char		short_json[VARATT_SHORT_MAX + VARHDRSZ] pg_attribute_aligned(MAXIMUM_ALIGNOF);
	ExprState  *row_key[INDEX_MAX_KEYS];	/* over it */
	FmgrInfo	key_equal[INDEX_MAX_KEYS];
	Oid			key_collation[INDEX_MAX_KEYS];
	int			nclauses;
	RunClause  *clauses;
	int			natts;
	RunType    *types;
	int			ngenerated;
	RunColumn  *generated;
	MergeRow	row;
	TupleTableSlot *row_slot;	/* where the row is changed */
	TupleTableSlot *given;		/* the row before the first item, until that
								 * is applied */
	RunPlace   *places;
	Datum	   *fresh;			/* new values */
	bool	   *fresh_nulls;
	RunSum	   *sums;			/* by column */
	bool		keeps_sums;		/* somebody settles them */
	bool		any_sum;		/* one may be live */

	/* what the conditions test: an item's type */
	RunStage	tested_stage;
	Expr	   *tested;			/* over stored_slot; or NULL */
	ExprState  *tested_value;
	FmgrInfo	tested_output;

	/* the batch */
	Relation	read_model;
	EState	   *estate;			/* made when a constraint is checked */
	ResultRelInfo *target;
	int			nnot_null;
	AttrNumber *not_null;
	bool		always_check;	/* more than NOT NULL is to be checked */
	bool		unchecked;		/* nothing is */
	const Bitmapset *unknown;	/* columns whose values are not made: null */
};

/* Begin to evaluate; what an error has left half-way is made anew. */
#define RUN_STAGE_ENTER(run, stage, recompile) \
	do { \
		if (unlikely((stage)->busy)) \
			recompile(run); \
		(stage)->busy = true; \
	} while (0)

extern Expr *MergePlan(const Expr *expr);
extern void MergeCompileItems(MergeRun *run);
extern void MergeCompileRow(MergeRun *run);
extern void MergeBeginTested(MergeRun *run, const Merge *merge);

extern void MergeTakeTest(RunClause *clause);
extern Expr *MergeTakeFirstTest(Expr *condition, RunTest *test);
extern bool MergeTestHolds(const RunTest *test, const Datum *values,
						   const bool *nulls);
extern bool MergeTakeNumber(const RunPart *part, Jsonb *json, Datum *result);
extern int	MergeTakeParts(RunClause *clause, int width);
extern int	MergeItemColumn(const Expr *expr);
extern void MergeComputeParts(MergeRun *run, RunClause *clause);
extern void MergeFindSums(MergeRun *run);
extern bool MergeAddSum(MergeRun *run, const RunColumn *column);
extern Datum MergeSumValue(const RunSum *sum);
extern void MergeBeginLayouts(MergeRun *run);
extern const RunLayout *MergeLayOut(MergeRun *run, const MergeItem *item);

extern FanOut *FanOutBegin(const Merge *merge, Relation stream);
extern TupleDesc FanOutDescriptor(FanOut *fan_out);
extern void FanOutEvent(FanOut *fan_out, TupleTableSlot *event);
extern TupleTableSlot *FanOutNext(FanOut *fan_out);
extern void FanOutClose(FanOut *fan_out);
extern void FanOutForget(FanOut *fan_out);

extern void MergeItemLoad(MergeRun *run, const char *stored,
						  TupleTableSlot *slot);

extern void MergeCheckForget(MergeRun *run);
extern void MergeCheckPrepare(MergeRun *run, Relation read_model);
extern void MergeCheckRow(MergeRun *run);
extern void MergeCheckKey(MergeRun *run);

#endif							/* WALLET_PROJECTION_MERGE_STATE_H */
