/*
 * survey.c
 *		The survey: after its start, the launcher asks each database once
 *		what is started in it.
 *
 * The launcher knows by labels what databases want (definition/desired.c).
 * Labels are not dumped, so that pg_upgrade brings the tables that a label
 * follows from, but no label.  And after an update of the library a database
 * may have the extension in the version before, which only the database itself
 * knows.  So a process of a few milliseconds goes into one database after the
 * other: it publishes the label where there is none, or says in the log what
 * has to be done before workers can start.  Template databases are left alone.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "definition/desired.h"
#include "worker/launcher.h"
#include "worker/override.h"
#include "worker/survey.h"

#define SURVEY_NAME "wallet_projection survey"

extern PGDLLEXPORT void wallet_projection_survey(Datum arg);

/* the launcher's */
static bool begun = false;
static List *unasked = NIL;		/* OIDs of databases */
static BackgroundWorkerHandle *asking = NULL;

static void
list_databases(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *databases;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	databases = LauncherDatabases(false);
	MemoryContextSwitchTo(TopMemoryContext);
	unasked = list_copy(databases);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
}

/* Send a process there; false if the server has none left. */
static bool
ask(Oid database)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	BackgroundWorker worker;
	bool		registered;

	LauncherDescribe(&worker, "wallet_projection_survey", SURVEY_NAME,
					 BGW_NEVER_RESTART);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	registered = RegisterDynamicBackgroundWorker(&worker, &asking);
	MemoryContextSwitchTo(caller);
	if (!registered)
		asking = NULL;
	return registered;
}

/* One step, by the launcher; true if there is more to do. */
bool
SurveyGoOn(void)
{
	pid_t		pid;

	if (!begun)
		list_databases();
	begun = true;
	if (asking != NULL)
	{
		if (GetBackgroundWorkerPid(asking, &pid) != BGWH_STOPPED)
			return true;
		pfree(asking);
		asking = NULL;
	}
	if (unasked != NIL && ask(linitial_oid(unasked)))
		unasked = list_delete_first(unasked);
	return asking != NULL || unasked != NIL;
}

/* Publish what is started here, unless that is known. */
static void
publish(void)
{
	if (!ExtensionIsThere() || DesiredPublished() != NULL)
		return;
	DesiredPublish();
}

/* Say in the log why nothing can start here. */
static void
tell(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	StartTransactionCommand();
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("no worker of wallet_projection can start in database \"%s\": %s",
					get_database_name(MyDatabaseId), error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
}

/* The process that is sent; the argument is the database. */
void
wallet_projection_survey(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg),
											  InvalidOid, 0);
	OverrideSettings();
	context = AllocSetContextCreate(TopMemoryContext, SURVEY_NAME,
									ALLOCSET_SMALL_SIZES);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PG_TRY();
	{
		OverrideUser();
		PushActiveSnapshot(GetTransactionSnapshot());
		publish();
		PopActiveSnapshot();
	}
	PG_CATCH();
	{
		tell(context);
	}
	PG_END_TRY();
	CommitTransactionCommand();
	proc_exit(0);
}
