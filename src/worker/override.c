/*
 * override.c
 *		The settings of a worker.
 *
 * What ALTER DATABASE and ALTER ROLE set is meant for sessions: a worker
 * would become another role, write nothing, end at the first error, or wait
 * no longer than a person wants to.  So what a batch depends on is set here,
 * with a priority that nothing else has.  All others (TimeZone, work_mem, ...)
 * are the user's to set, and triggers on a read model see them.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "worker/override.h"

/*
 * How long we wait for a lock: others have work too, and who waits for us in
 * turn must not be told of a deadlock, which is after 1 s.
 */
#define LOCK_WAIT		"500ms"

static const char *const settings[][2] = {
	{"search_path", "pg_catalog, pg_temp"},
	{"statement_timeout", "0"},
	{"lock_timeout", LOCK_WAIT},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"transaction_timeout", "0"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"synchronous_commit", "off"},
	{"session_replication_role", "origin"},
	{"exit_on_error", "off"},
	{"row_security", "on"},
	{"restrict_nonsystem_relation_kind", ""},
	{"role", "none"},
};

static void
override(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/* To be called once we are connected, before the first transaction. */
void
OverrideSettings(void)
{
	for (int i = 0; i < lengthof(settings); i++)
	{
		/* some are of newer releases */
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			override(settings[i][0], settings[i][1]);
	}
}

/* Be the superuser, whoever is to be session_authorization; in a transaction. */
void
OverrideUser(void)
{
	if (GetSessionUserId() != BOOTSTRAP_SUPERUSERID)
		override("session_authorization",
				 GetUserNameFromId(BOOTSTRAP_SUPERUSERID, false));
}
