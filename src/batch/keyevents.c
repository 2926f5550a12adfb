/*
 * keyevents.c
 *		The events of one key, read out of the stream.
 *
 * A native projection's key is an aggregate, for which the stream has an index.
 * A declared projection's key is what its expressions say: where these are
 * columns, or an index of the stream is on the same expressions, the server is
 * asked for the rows with these values.  Otherwise each row between the numbers
 * is looked at: the server must not be asked to compare an expression that
 * cannot be computed for some other event.  Where a batch has kept the key's
 * items, their numbers are known, and nothing else is read.
 */
#include "postgres.h"

#include "compat.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/ruleutils.h"

#include "access/genam.h"
#include "access/xact.h"
#include "batch/keyevents.h"
#include "catalog.h"
#include "fault.h"
#include "keyhash.h"
#include "position/gapwatch.h"

/* Looks for events that have an item of the key. */
typedef struct KeyFilter
{
	const ApplyScope *scope;
	Datum		key[INDEX_MAX_KEYS];
	EventReceiver receive;
	void	   *state;
	const Event *event;			/* at hand */
	bool		found;
	/* to be folded: */
	Fold	   *fold;
} KeyFilter;

/* MergeItemReceiver */
static void
look_for_key(void *arg, const MergeItem *item)
{
	KeyFilter  *filter = arg;

	if (item->has_key && !filter->found)
		filter->found = KeyEqual(filter->scope->sink->key, filter->key, item->key);
}

/*
 * Has the event an item of the key?  One whose items cannot be computed has
 * none: it is parked by itself.
 */
static bool
has_key(KeyFilter *filter, const Event *event)
{
	ErrorData  *error;

	filter->event = event;
	filter->found = false;
	error = MergeRunItemsApart(filter->scope->sink->run, event->slot,
							   look_for_key, filter);
	if (error == NULL)
		return filter->found;
	if (!ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/* EventReceiver */
static bool
filter_event(void *state, const Event *event)
{
	KeyFilter  *filter = state;

	if (!has_key(filter, event))
		return true;
	return filter->receive(filter->state, event);
}

/* Is the index's first column this expression over the stream? */
static bool
leads_index(Relation index, Node *expression)
{
	List	   *expressions = RelationGetIndexExpressions(index);
	AttrNumber	first = index->rd_index->indkey.values[0];

	if (!index->rd_index->indisvalid || RelationGetIndexPredicate(index) != NIL)
		return false;
	if (IsA(expression, Var))
		return first == ((Var *) expression)->varattno;
	return first == 0 && expressions != NIL &&
		equal(linitial(expressions), expression);
}

/* Has the stream an index whose first column is this expression? */
static bool
is_indexed(Relation stream, Node *expression)
{
	List	   *indexes = RelationGetIndexList(stream);
	ListCell   *cell;
	bool		found = false;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		found = found || leads_index(index, expression);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

/* An expression over the item as one over the stream's row (varno 1). */
static Node *
over_stream(Node *node, void *merge)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == MERGE_ITEM)
	{
		Var		   *var = copyObject((Var *) node);

		var->varno = var->varnosyn = 1;
		var->varattno = ((Merge *) merge)->item_columns[var->varattno - 1];
		var->varattnosyn = var->varattno;
		return (Node *) var;
	}
	return expression_tree_mutator(node, over_stream, merge);
}

/* The expression without casts that change nothing. */
static Node *
strip_relabels(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* A column of the key, over the stream's row. */
static Node *
key_expression(const ApplyScope *scope, int column)
{
	return over_stream((Node *) scope->sink->merge->key.values[column],
					   unconstify(Merge *, scope->sink->merge));
}

/* column = value, where the server can be asked that; or NULL. */
static Node *
equals(const ApplyScope *scope, int column, Datum value)
{
	const Sink *sink = scope->sink;
	const MergeKey *key = &sink->merge->key;
	const KeyColumn *type = &sink->key->columns[column];
	Node	   *expression = key_expression(scope, column);
	Const	   *constant;

	if (!IsA(strip_relabels(expression), Var) &&
		!is_indexed(scope->stream->relation, expression))
		return NULL;
	constant = makeConst(type->type, type->typmod, type->collation,
						 type->typlen, value, false, type->typbyval);
	return (Node *) make_opclause(key->equality[column], BOOLOID, false,
								  (Expr *) expression, (Expr *) constant,
								  InvalidOid, key->collation[column]);
}

/* What the server is asked for. */
static List *
quals_of(const ApplyScope *scope, const Datum *key)
{
	List	   *quals = NIL;

	if (scope->sink->merge->fan_out != NULL)
		return NIL;
	for (int i = 0; i < scope->sink->key->ncolumns; i++)
	{
		Node	   *qual = equals(scope, i, key[i]);

		if (qual != NULL)
			quals = lappend(quals, qual);
	}
	return quals;
}

/* Can this be asked of an index? */
static bool
has_index(const ApplyScope *scope)
{
	for (int i = 0; i < scope->sink->key->ncolumns; i++)
	{
		if (is_indexed(scope->stream->relation,
					   strip_relabels(key_expression(scope, i))) ||
			is_indexed(scope->stream->relation, key_expression(scope, i)))
			return true;
	}
	return false;
}

/* Are a key's events found by an index of the stream? */
bool
KeyEventsIndexed(const ApplyScope *scope)
{
	return scope->sink->key == NULL ||
		(scope->sink->merge->fan_out == NULL && has_index(scope));
}

/*
 * The statement that makes an index by which the events of a key are found; NULL:
 * none can.
 */
char *
KeyEventsIndex(const ApplyScope *scope)
{
	Relation	stream = scope->stream->relation;
	Node	   *expression = strip_relabels(key_expression(scope, 0));
	List	   *names = deparse_context_for(RelationGetRelationName(stream),
											RelationGetRelid(stream));

	if (contain_mutable_functions(expression))
		return NULL;
	if (!IsA(expression, Var))
		expression = key_expression(scope, 0);
	return psprintf(IsA(expression, Var) ? "CREATE INDEX ON %s (%s);" :
					"CREATE INDEX ON %s ((%s));", QualifiedName(stream),
					deparse_expression(expression, names, false, false));
}

/* Numbers that are looked through one by one, for want of an index. */
static void
count_looks(const ApplyScope *scope, int64 first, int64 last)
{
	if (scope->sink->merge->fan_out != NULL || has_index(scope))
		return;
	last = Min(last, StreamLastNumber(scope->stream->parts.sequence));
	*scope->looked += Max(last - first + 1, 0);
}

/*
 * Give the receiver the events first..last of the task's key, in order of
 * number.  Returns false where the receiver ended the read.
 */
bool
KeyEventsRead(const ApplyScope *scope, const KeyTask *task, int64 first,
			  int64 last, EventReceiver receive, void *state)
{
	KeyFilter	filter = {.scope = scope,.receive = receive,.state = state};
	int			length;

	if (scope->sink->key == NULL)
		return ReadKeyEvents(scope->stream, scope->snapshot,
							 scope->projection->aggregate_type, task->key,
							 first, last, receive, state);
	KeyImageRead(scope->sink->key,
				 KeyFromText(scope->sink->key, task->key, &length), filter.key);
	if (task->numbers != NULL)
	{
		NumberSet	numbers = NumberSetBetween(task->numbers, first, last);

		return GapsRead(scope->stream, scope->snapshot, &numbers, filter_event,
						&filter);
	}
	if (scope->looked != NULL)
		count_looks(scope, first, last);
	return ReadRowsWhere(scope->stream, scope->snapshot,
						 quals_of(scope, filter.key), first, last, filter_event,
						 &filter);
}

/* MergeItemReceiver */
static void
fold_item(void *arg, const MergeItem *item)
{
	KeyFilter  *filter = arg;

	if (item->has_key &&
		KeyEqual(filter->scope->sink->key, filter->key, item->key))
		FoldAddItem(filter->fold, filter->event, item,
					KeyHashesOf(filter->scope->sink->key, item->key).place);
}

/* Fold an event that KeyEventsRead() has given, or what of it is the key's. */
void
KeyEventFold(const ApplyScope *scope, const KeyTask *task, Fold *fold,
			 const Event *event)
{
	KeyFilter	filter = {.scope = scope,.fold = fold,.event = event};
	int			length;

	if (scope->sink->key == NULL)
	{
		FoldAdd(fold, event, KeyHash(event->key, event->key_length));
		return;
	}
	KeyImageRead(scope->sink->key,
				 KeyFromText(scope->sink->key, task->key, &length), filter.key);
	MergeRunItems(scope->sink->run, event->slot, fold_item, &filter);
}
