/*
 * merge_rights.c
 *		May a role have this projection?
 *
 * The rights are those that the statement itself would need: SELECT on the
 * columns that it uses of the stream and of views, where a view reads as its
 * owner; what its actions do to the read model.  And the read model is the
 * role's own.
 */
#include "postgres.h"

#include "compat.h"
#include "access/table.h"
#include "catalog/objectaddress.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "merge/merge.h"

static bool
check_rights_walker(Node *node, void *role)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		compat_check_query_rights((Query *) node, *(Oid *) role);
		return query_tree_walker((Query *) node, check_rights_walker, role, 0);
	}
	return expression_tree_walker(node, check_rights_walker, role);
}

/* The stream's columns, which "events" shows. */
static void
check_events(const Merge *merge, Oid role)
{
	int			column = -1;

	if (pg_class_aclcheck(merge->stream, role, ACL_SELECT) == ACLCHECK_OK)
		return;
	if (bms_is_empty(merge->stream_columns) &&
		pg_attribute_aclcheck_all(merge->stream, role, ACL_SELECT,
								  ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   get_rel_name(merge->stream));
	while ((column = bms_next_member(merge->stream_columns, column)) >= 0)
	{
		if (pg_attribute_aclcheck(merge->stream, column, role,
								  ACL_SELECT) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
						   get_rel_name(merge->stream));
	}
}

/*
 * Errors: 42501.
 */
void
MergeCheckRights(const Merge *merge, Oid role)
{
	if (!compat_role_owns_relation(merge->read_model, role))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE,
					   get_rel_name(merge->read_model));
	if (merge->statement != NULL)
		check_events(merge, role);
	(void) check_rights_walker((Node *) merge->rewritten, &role);
}
