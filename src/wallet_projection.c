/*
 * wallet_projection.c
 *		The door: module magic, settings, hooks; nothing else.
 */
#include "postgres.h"

#include "commands/seclabel.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "catalog.h"
#include "definition/desired.h"
#include "notice.h"
#include "settings.h"
#include "wallet/wallet.h"
#include "worker/launcher.h"
#include "worker/slots.h"

PG_MODULE_MAGIC;

int			BatchMemory = 256 * 1024;
int			BatchTimeout = 10 * 60 * 1000;
bool		WorkersEnabled = true;
bool		Autostart = true;
int			DefaultWorkers = 2;
int			PollInterval = 500;
bool		Preloaded = false;

static char *version;

extern PGDLLEXPORT void _PG_init(void);

static void
define_settings(void)
{
	DefineCustomIntVariable("wallet_projection.batch_memory",
							"Sets the memory that one batch of a projection may use for its keys.",
							"A batch ends early when it has used this much.",
							&BatchMemory,
							256 * 1024, 1024, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("wallet_projection.batch_timeout",
							"Sets how long a batch of a worker or of projection_consume may take.",
							"One that takes longer is cancelled, and tried again later. 0: it may take any time.",
							&BatchTimeout,
							10 * 60 * 1000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("wallet_projection.enabled",
							 "Runs background workers.",
							 "Off: they end after their batch, until it is on again.",
							 &WorkersEnabled,
							 true, PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("wallet_projection.autostart",
							 "Starts a projection when it is initialized.",
							 "Only where the server has background workers of wallet_projection.",
							 &Autostart,
							 true, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("wallet_projection.workers",
							"Sets the background workers of a channel that channel_scale has not set.",
							NULL,
							&DefaultWorkers,
							2, 0, CHANNEL_WORKERS_MAX,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("wallet_projection.poll_interval",
							"Sets how long an idle background worker sleeps at most.",
							"Events that nobody tells of, such as another program's, wait no longer than this.",
							&PollInterval,
							500, 10, 60 * 60 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomStringVariable("wallet_projection.version",
							   "Shows the version of the library that is loaded.",
							   "Where the extension in the database is of another one, run ALTER EXTENSION wallet_projection UPDATE, or restart the server.",
							   &version,
							   EXTENSION_VERSION, PGC_INTERNAL,
							   GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   NULL, NULL, NULL);
	MarkGUCPrefixReserved("wallet_projection");
}

/*
 * SECURITY LABEL is not for people, and nobody reads what it sets; this lets a
 * dump of version 0.1.0 be restored, which has it.
 */
static void
check_label(const ObjectAddress *object, const char *label)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set a label of wallet_projection"),
				 errhint("Use projection_start, projection_stop and channel_scale.")));
}

void
_PG_init(void)
{
	define_settings();
	WalletRegister();
	if (!process_shared_preload_libraries_in_progress)
		return;
	Preloaded = true;
	register_label_provider(DESIRED_PROVIDER, check_label);
	DesiredInstall();
	SlotsInstall();
	NoticesDeliverTo(SlotsDeliver);
	LauncherRegister();
}
