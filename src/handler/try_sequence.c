/*
 * try_sequence.c
 *		Numbers for a trial, without drawing them from sequences.
 *
 * A trial writes nothing, so a sequence must not move, and its result must
 * be the same each time.  What draws a number becomes a parameter, whose
 * value is 1, 2, 3 ... each time it is asked for.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/fmgroids.h"

#include "handler/try.h"

typedef struct Sequences
{
	List	   *oids;			/* 0: one that only its default knows */
	int64	   *numbers;		/* drawn last */
} Sequences;

/* The parameter that stands for a sequence. */
static Node *
sequence_param(Sequences *sequences, Oid sequence, Oid type)
{
	Param	   *param = makeNode(Param);
	int			id = 1;
	ListCell   *lc;

	foreach(lc, sequences->oids)
	{
		if (lfirst_oid(lc) == sequence)
			break;
		id++;
	}
	if (id > list_length(sequences->oids))
		sequences->oids = lappend_oid(sequences->oids, sequence);
	param->paramkind = PARAM_EXTERN;
	param->paramid = id;
	param->paramtype = INT8OID;
	param->paramtypmod = -1;
	param->location = -1;
	return coerce_to_target_type(NULL, (Node *) param, INT8OID, type, -1,
								 COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST,
								 -1);
}

static Node *
replace_draws(Node *node, Sequences *sequences)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, NextValueExpr))
		return sequence_param(sequences, ((NextValueExpr *) node)->seqid,
							  ((NextValueExpr *) node)->typeId);
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_NEXTVAL)
	{
		Node	   *name = linitial(((FuncExpr *) node)->args);

		return sequence_param(sequences, IsA(name, Const) ?
							  DatumGetObjectId(((Const *) name)->constvalue) :
							  InvalidOid, INT8OID);
	}
	return expression_tree_mutator(node, replace_draws, sequences);
}

static ParamExternData *
next_number(ParamListInfo params, int id, bool speculative,
			ParamExternData *workspace)
{
	Sequences  *sequences = params->paramFetchArg;

	workspace->isnull = false;
	workspace->pflags = 0;
	workspace->ptype = INT8OID;
	workspace->value = Int64GetDatum(++sequences->numbers[id - 1]);
	return workspace;
}

/* Take the sequences out of a definition; its run needs what is returned. */
ParamListInfo
TrySequences(Merge *merge)
{
	Sequences  *sequences = palloc0_object(Sequences);
	ParamListInfo params;
	ListCell   *lc;

	foreach(lc, merge->clauses)
	{
		MergeClause *clause = lfirst(lc);

		clause->columns = (List *) replace_draws((Node *) clause->columns,
												 sequences);
	}
	sequences->numbers = palloc0_array(int64,
									   list_length(sequences->oids) + 1);
	params = makeParamList(0);
	params->paramFetch = next_number;
	params->paramFetchArg = sequences;
	params->numParams = list_length(sequences->oids);
	return params;
}
