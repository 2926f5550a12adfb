/*
 * wallet_projection.c
 *		The door: module magic and settings; nothing else.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/guc.h"

#include "settings.h"

PG_MODULE_MAGIC;

int			BatchMemory = 256 * 1024;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	DefineCustomIntVariable("wallet_projection.batch_memory",
							"Sets the memory that one batch of a projection may use for its keys.",
							"A batch ends early when it has used this much.",
							&BatchMemory,
							256 * 1024, 1024, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("wallet_projection");
}
