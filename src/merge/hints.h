/*
 * hints.h
 *		Between merge_hint.c and the files that know the hints.
 *
 * Each function returns a hint, or NULL if it knows none.
 */
#ifndef WALLET_PROJECTION_HINTS_H
#define WALLET_PROJECTION_HINTS_H

#include "utils/elog.h"

#include "merge/words.h"

extern char *HintForSyntax(const Words *words, int at);
extern char *HintForUnreachable(const Words *words, int *when);
extern char *HintForOperator(const Words *words, int at,
							 const char *message);
extern char *HintForLiteral(const Words *words, int at, const char *message);
extern char *HintForCast(const Words *words, int at, const char *message);
extern char *HintForMismatch(const Words *words, int at,
							 const char *message);
extern char *HintForAggregate(const Words *words, int at);
extern char *HintForColumn(const Words *words, int at, const char *message);
extern char *HintForAmbiguous(const Words *words, int at);
extern char *HintForTable(const Words *words, int at, const char *message);

extern char *HintBetween(const char *message, const char *before,
						 const char *after);
extern char *HintTargetAlias(const Words *words);
extern char *HintSourceAlias(const Words *words);

#endif							/* WALLET_PROJECTION_HINTS_H */
