/*
 * merge_build.h
 *		A definition on its way from the parser's tree to a Merge.
 *
 * Known to merge*.c only.  The steps, in this order: the statement is analysed
 * and rewritten (merge.c); the tables are checked (merge_table.c), and what the
 * source does (merge_source.c); the key and the clauses are made of the
 * parser's expressions (merge_key.c and merge_action.c, or merge_upsert.c);
 * then all expressions are put over the item (merge_item.c, merge_fanout.c).
 * Up to the last step, Vars are the statement's own.
 */
#ifndef WALLET_PROJECTION_MERGE_BUILD_H
#define WALLET_PROJECTION_MERGE_BUILD_H

#include "catalog/pg_attribute.h"
#include "nodes/bitmapset.h"
#include "utils/relcache.h"

#include "merge/merge.h"
#include "merge/merge_hint.h"

typedef struct MergeBuild
{
	Merge	   *merge;
	Node	   *raw;			/* the statement before its analysis */
	Query	   *query;			/* rewritten; ours to change */
	int			target;			/* the read model, in query's range table */
	RangeTblEntry *stream;		/* the stream's table, wherever it is */
	Relation	read_model;
	bool		multiplies;		/* the source needs a query of its own */
	int			generators;		/* items of FROM beside the stream */
	bool		target_list_sets;	/* a set-returning function after SELECT */
	const char *unordered;		/* an item of FROM that no order can be given
								 * to, in words; or NULL */
	Node	   *sorted;			/* what an ORDER BY of the source starts with */
} MergeBuild;

/* One comparison of ON. */
typedef struct MergeComparison
{
	OpExpr	   *operation;
	AttrNumber	column;			/* of the read model */
	Expr	   *value;			/* over the source */
	Oid			operator;		/* with the column on the left */
} MergeComparison;

/* On the stack of whoever analyses a text of the user's. */
typedef struct MergeText
{
	ErrorContextCallback callback;
	MergeHint	hint;
} MergeText;

/* merge.c */
extern void MergeTextBegin(MergeText *about, char *words);
extern void MergeTextEnd(MergeText *about);
extern int	MergeStartOf(const MergeBuild *build, const RawStmt *statement);

/* statement_key.c */
extern void StatementReadKey(Merge *merge, Relation stream);

/* statement_columns.c */
extern Bitmapset *StatementColumns(const Merge *merge, bool *found);

/* merge_place.c */
extern int	MergePlace(const MergeBuild *build, int location);
extern int	MergePlaceOf(const MergeBuild *build, const void *node);
extern const RangeVar *MergeReadModelName(const MergeBuild *build);
extern int	MergePlaceOfReadModel(const MergeBuild *build);
extern int	MergePlaceOfTable(const MergeBuild *build, const char *alias);
extern int *MergeFindWhens(const char *definition, int *count);

/* merge_show.c */
extern char *MergeShowStatement(const MergeBuild *build,
								const void *expression);
extern char *MergeColumnName(const MergeBuild *build, AttrNumber column);

/* merge_table.c */
extern void MergeCheckReadModel(MergeBuild *build);
extern void MergeCheckStream(MergeBuild *build, Query *query,
							 RangeTblEntry *rte);
extern void MergeCheckView(MergeBuild *build, RangeTblEntry *rte);

/* merge_source.c */
extern void MergeCheckSource(MergeBuild *build);
extern bool MergeIsOneRow(const Query *query);
extern bool MergeReadsTable(Query *query);

/* merge_on.c */
extern void MergeRefuseOn(const MergeBuild *build, const void *node,
						  const char *detail, const char *hint);
extern Form_pg_attribute MergeColumn(const MergeBuild *build,
									 AttrNumber column);
extern void MergeRefuseCast(const MergeBuild *build, const OpExpr *operation,
							AttrNumber column, Node *value,
							const char *detail);
extern void MergeRefuseInequality(const MergeBuild *build, Node *node);
extern List *MergeReadOn(const MergeBuild *build, Node *node, List *known);

/* merge_key.c */
extern void MergeBuildKey(MergeBuild *build, Node *on);
extern bool MergeSameValue(const void *a, const void *b);
extern bool MergeUsableIndex(Relation index);
extern void MergeKeyFromIndex(MergeBuild *build, Relation index);

/* merge_action.c */
extern Bitmapset *MergeColumnsListed(List *targets);
extern void MergeBuildClauses(MergeBuild *build);
extern void MergeRefuseSubselects(MergeBuild *build, void *expression);
extern void MergeCompleteInsert(MergeBuild *build, MergeClause *clause,
								List *targets);
extern void MergeCheckUpdate(MergeBuild *build, MergeClause *clause);

/* merge_upsert.c */
extern void MergeBuildUpsert(MergeBuild *build);

/* merge_item.c, merge_fanout.c */
extern void MergeBuildItems(MergeBuild *build);
extern Node *MergeStreamRow(MergeBuild *build, const Var *var,
							Node *(*column) (const Var *var));
extern Query *MergeFanOut(MergeBuild *build, Query *source);

/* merge_advice.c */
extern void MergeAdvise(MergeBuild *build);

#endif							/* WALLET_PROJECTION_MERGE_BUILD_H */
