/*
 * owner.c
 *		Who may work on a projection, and as whom it works.
 *
 * The owner of a projection is the owner of its read model.  Batches run as
 * the owner, whoever calls: a trigger on the read model gets no more rights
 * than its owner has, even where a superuser or a worker runs the batch.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "definition/projection.h"

/* The read model's owner; InvalidOid if the table is gone. */
static Oid
owner_of(const Projection *projection)
{
	HeapTuple	tuple = SearchSysCache1(RELOID,
										ObjectIdGetDatum(projection->read_model));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
refuse_dropped(const Projection *projection)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the read model of projection \"%s\" was dropped",
					projection->name),
			 projection->declared != NULL ?
			 errhint("Run: SELECT projection_drop(%s); and create it again, with a table for it.",
					 quote_literal_cstr(projection->name)) :
			 errhint("Start afresh, with the same options, by: SELECT projection_init(%s);",
					 quote_literal_cstr(projection->name))));
}

/* The names of the columns that the projection uses of its read model. */
List *
ProjectionColumnNames(const Projection *projection)
{
	const RowHandler *handler = projection->handler;
	List	   *names = NIL;

	if (projection->declared != NULL)
		return TextArrayList(projection->declared->columns);
	for (int i = 0; i < handler->ncolumns; i++)
		names = lappend(names, unconstify(char *, handler->columns[i].name));
	return names;
}

/* How many columns the projection uses of its read model. */
int
ProjectionColumnCount(const Projection *projection)
{
	return list_length(ProjectionColumnNames(projection));
}

/*
 * How many of them an ordinary table has; 0 if it is another kind of relation.
 */
int
ProjectionColumnsIn(const Projection *projection, Oid relid)
{
	int			count = 0;
	ListCell   *cell;

	if (get_rel_relkind(relid) != RELKIND_RELATION)
		return 0;
	foreach(cell, ProjectionColumnNames(projection))
	{
		if (get_attnum(relid, lfirst(cell)) != InvalidAttrNumber)
			count++;
	}
	return count;
}

/* The projection is the read model's owner's, once that is written down. */
void
ProjectionSetOwner(Projection *projection)
{
	projection->owner = owner_of(projection);
	projection->owner_name = GetUserNameFromId(projection->owner, true);
}

/*
 * Is the read model its who has initialized the projection?  A row that names
 * somebody else's table must not have events written to it.
 */
bool
ProjectionOwnerIsProven(const Projection *projection)
{
	Oid			owner = owner_of(projection);
	char	   *name;

	if (!OidIsValid(owner))
		return true;			/* there is no table */
	if (projection->ref.here)
		return owner == projection->owner;
	name = GetUserNameFromId(owner, true);
	return name != NULL && projection->owner_name != NULL &&
		strcmp(name, projection->owner_name) == 0;
}

/* Has the owner another name than is written down? */
bool
ProjectionOwnerIsStale(const Projection *projection)
{
	char	   *name = GetUserNameFromId(projection->owner, true);

	return name != NULL && (projection->owner_name == NULL ||
							strcmp(name, projection->owner_name) != 0);
}

/* Whose projection it was when that was last written down; or InvalidOid. */
static Oid
owner_before(const Projection *projection)
{
	if (projection->ref.here)
		return projection->owner;
	return projection->owner_name == NULL ? InvalidOid :
		get_role_oid(projection->owner_name, true);
}

/*
 * The read model was given to another role, who becomes the projection's owner:
 * an error unless the caller may act for both.
 */
void
ProjectionAdopt(const Projection *projection)
{
	Oid			before = owner_before(projection);

	ProjectionCheckOwner(projection);
	if (superuser() ||
		(OidIsValid(before) && has_privs_of_role(GetUserId(), before)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must have the rights of both owners of projection \"%s\"",
					projection->name),
			 errdetail("Its read model is not owned by the role that has initialized it.")));
}

/* Is the projection initialized, and its read model there? */
bool
ProjectionHasReadModel(const Projection *projection)
{
	return projection->initialized && OidIsValid(owner_of(projection));
}

/* Raise an error unless the projection has its read model. */
void
ProjectionCheckInitialized(const Projection *projection)
{
	if (!projection->initialized)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("projection \"%s\" is not initialized",
						projection->name),
				 errhint("Run: SELECT projection_init(%s);",
						 quote_literal_cstr(projection->name))));
	if (!OidIsValid(owner_of(projection)))
		refuse_dropped(projection);
}

/* The read model's name as SQL writes it. */
char *
ProjectionReadModelName(const Projection *projection)
{
	char	   *name = TableNameOf(projection->read_model);

	if (name == NULL)
		refuse_dropped(projection);
	return name;
}

/*
 * Open the read model, as one who has the owner's rights.  Rights are looked
 * at again once the table is locked: its owner may have changed.
 */
Relation
ProjectionOpenReadModel(const Projection *projection, LOCKMODE mode)
{
	Relation	relation;

	ProjectionCheckOwner(projection);
	relation = try_relation_open(projection->read_model, mode);
	if (relation == NULL)
		refuse_dropped(projection);
	ProjectionCheckOwner(projection);
	return relation;
}

/*
 * Has the current role the owner's rights?  Before there is one: may it be?  A
 * declared projection whose read model was dropped is still its owner's.
 */
bool
ProjectionOwnedByCaller(const Projection *projection)
{
	Oid			owner = owner_of(projection);

	if (!OidIsValid(owner) && projection->declared != NULL)
		owner = owner_before(projection);
	if (OidIsValid(owner))
		return has_privs_of_role(GetUserId(), owner);
	return compat_may_create_in(ExtensionSchema());
}

void
ProjectionCheckOwner(const Projection *projection)
{
	if (ProjectionOwnedByCaller(projection))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of projection \"%s\"", projection->name),
			 OidIsValid(owner_of(projection)) ?
			 errdetail("Its owner is the owner of its read model, role \"%s\".",
					   GetUserNameFromId(owner_of(projection), false)) :
			 errdetail("It has no read model yet: the right to create tables in schema \"%s\" is needed.",
					   get_namespace_name(ExtensionSchema()))));
}

/* Is there anything that the projection's consumers do, or complain of? */
static bool
is_begun(const Projection *projection)
{
	return projection->initialized || projection->damage != NULL;
}

/*
 * The projections of a channel; an error if there is none, or one that is not
 * the caller's.  One that is not initialized is left out, unless all are: the
 * example is there in each database, and who has declared his own need not know
 * of it.
 */
List *
ProjectionsOwned(const char *channel)
{
	List	   *projections = ProjectionsOfChannel(channel);
	List	   *begun = NIL;
	ListCell   *cell;

	if (projections == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("channel \"%s\" has no projections", channel),
				 errhint("See the column \"channel\" of the view projection_status.")));
	foreach(cell, projections)
	{
		if (is_begun(lfirst(cell)))
			begun = lappend(begun, lfirst(cell));
	}
	if (begun != NIL)
		projections = begun;
	foreach(cell, projections)
		ProjectionCheckOwner(lfirst(cell));
	return projections;
}

/*
 * OpenProjection as the projection's owner, with a search_path that is nobody's, until
 * OwnerLeave(); an error that ends the transaction leaves as well.
 */
OwnerScope
OwnerEnter(const Projection *projection)
{
	OwnerScope	scope;
	Oid			owner = owner_of(projection);

	GetUserIdAndSecContext(&scope.user, &scope.security);
	/* a definition is restricted as index expressions are, whoever calls */
	if (owner != scope.user || projection->declared != NULL)
		SetUserIdAndSecContext(owner, scope.security |
							   SECURITY_RESTRICTED_OPERATION);
	scope.path = SafePathEnter();
	return scope;
}

void
OwnerLeave(const OwnerScope *scope)
{
	SafePathLeave(scope->path);
	SetUserIdAndSecContext(scope->user, scope->security);
}

/* ErrorContextCallback: who lacks the right */
static void
hint_at_owner(void *arg)
{
	const OwnerHint *hint = arg;

	if (geterrcode() != ERRCODE_INSUFFICIENT_PRIVILEGE)
		return;
	errdetail("Projection \"%s\" works with the rights of its read model's owner, role \"%s\".",
			  hint->projection->name, hint->role);
	errhint("Grant that role, or the owner of a view that it reads, what it lacks; the projection then goes on by itself.");
}

/* Errors until OwnerHintEnd() say whose rights count: the current role's. */
void
OwnerHintBegin(OwnerHint *hint, const Projection *projection)
{
	hint->projection = projection;
	hint->role = GetUserNameFromId(GetUserId(), false);
	hint->callback.callback = hint_at_owner;
	hint->callback.arg = (void *) hint;
	hint->callback.previous = error_context_stack;
	error_context_stack = &hint->callback;
}

void
OwnerHintEnd(OwnerHint *hint)
{
	error_context_stack = hint->callback.previous;
}
