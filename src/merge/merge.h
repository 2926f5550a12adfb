/*
 * merge.h
 *		A row projection's definition: one MERGE, parsed, checked, taken apart.
 *
 * MergeParse() turns the text that a user has written into a Merge.  The text
 * is analysed and rewritten by PostgreSQL; then the source is flattened down
 * to the stream's table, and each rule of the definition's language is
 * checked.  A Merge is plain expressions, nothing compiled, nothing open.
 *
 * An event of the stream makes items: one, or none where the filter does not
 * hold; where the source multiplies events (jsonb_array_elements), any number.
 * An item is a row of values: item_columns of the stream's row, or the result
 * of fan_out.  All expressions are over the item (Vars of MERGE_ITEM, the
 * attribute number counts the item's values from 1) and the read model's row
 * (Vars of MERGE_ROW, with the table's attribute numbers).
 */
#ifndef WALLET_PROJECTION_MERGE_H
#define WALLET_PROJECTION_MERGE_H

#include "access/attnum.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"

#define MERGE_ITEM	OUTER_VAR
#define MERGE_ROW	INNER_VAR

/* PostgreSQL's own MergeAction is a node of its statement. */
typedef enum MergeActionKind
{
	MERGE_DO_NOTHING,
	MERGE_DO_INSERT,
	MERGE_DO_UPDATE,
	MERGE_DO_DELETE
} MergeActionKind;

/* A WHEN. */
typedef struct MergeClause
{
	bool		matched;		/* WHEN MATCHED; or WHEN NOT MATCHED */
	MergeActionKind action;
	Expr	   *condition;		/* boolean; NULL: always */
	List	   *columns;		/* of TargetEntry, resno: column of the read
								 * model, expr: its new value, of the column's
								 * type.  INSERT: all that are not null,
								 * defaults included (generated columns are
								 * not).  UPDATE: those that are SET. */
	Bitmapset  *listed;			/* columns that the text assigns */
	int			location;		/* of the WHEN, in bytes of the text */
} MergeClause;

/* The columns of the read model's unique index that ON compares. */
typedef struct MergeKey
{
	Oid			index;
	int			ncolumns;
	AttrNumber	columns[INDEX_MAX_KEYS];	/* of the read model, in the
											 * index's order */
	Expr	   *values[INDEX_MAX_KEYS]; /* over the item, of the column's
										 * type, a domain's base type; no
										 * length is enforced */
	Oid			equality[INDEX_MAX_KEYS];	/* operator of the index's btree
											 * family on the column's type */
	Oid			collation[INDEX_MAX_KEYS];	/* the index's */
} MergeKey;

/* A table that a statement projection changes. */
typedef struct StatementTarget
{
	Oid			relation;
	bool		inserts;
	bool		updates;
	bool		deletes;
	Bitmapset  *listed;			/* columns that the text assigns */
} StatementTarget;

/* What a statement projection has instead of clauses. */
typedef struct Statement
{
	char	   *key_text;		/* NULL: all events have one key */
	List	   *targets;		/* of StatementTarget, in the order of the
								 * text: the first is the read model */
} Statement;

typedef struct Merge
{
	char	   *text;
	Statement  *statement;		/* a statement over "events": no clauses, no
								 * index; or NULL */
	Query	   *analysed;		/* as the parser left it: views are views */
	Query	   *rewritten;		/* views are sub-selects, defaults are in */
	bool		upsert;			/* spelt INSERT ... ON CONFLICT */
	char	   *item_name;		/* what the text calls the source, quoted */
	char	   *row_name;		/* and the read model */
	Oid			stream;			/* its table */
	bool		stream_alone;	/* without its children: ONLY */
	Oid			read_model;
	int			item_width;		/* values of an item */
	AttrNumber *item_columns;	/* of the stream's table; where fan_out is
								 * NULL */
	Query	   *fan_out;		/* a query without tables, whose result are an
								 * event's items in order, in its first
								 * item_width columns (others are for
								 * sorting); PARAM_EXTERN n is column n of the
								 * stream's table */
	Bitmapset  *fan_out_columns;	/* those of the stream that it uses */
	Expr	   *filter;			/* boolean, over the item; NULL: all */
	MergeKey	key;
	List	   *clauses;		/* of MergeClause, in order */
	Bitmapset  *stream_columns; /* that the source uses in all */
	Expr	   *tested;			/* what the conditions compare with constants
								 * (the event's type), over the item; or NULL */
	List	   *uses;			/* of char *: what each name in the text has
								 * been resolved to, sorted, in words that a
								 * restored database has as well: "function
								 * pg_catalog.lower(text)" */
	List	   *notices;		/* of char *: what is allowed, but looks like
								 * a mistake */
} Merge;

extern bool MergeHas(const Merge *merge, MergeActionKind action);
extern Merge *MergeParse(const char *definition);
extern void MergeCheckRights(const Merge *merge, Oid role);
extern char *MergeShow(const Merge *merge, const void *expression);

#endif							/* WALLET_PROJECTION_MERGE_H */
