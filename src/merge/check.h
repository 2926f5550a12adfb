/*
 * check.h
 *		Between merge_check.c, which finds functions, and check.c, which judges.
 */
#ifndef WALLET_PROJECTION_CHECK_H
#define WALLET_PROJECTION_CHECK_H

#include "merge/merge.h"

typedef struct Check
{
	const Merge *merge;
	bool		chooses_key;	/* key, filter or fan-out */
	bool		allow_stable;
	const char *where;			/* for messages */
	bool		in_domain;		/* in a CHECK of a domain, which is used at
								 * this place of the definition */
	int			place;
	int			clause;			/* the WHEN's place, where nothing is better */
} Check;

extern void CheckRefuse(const Check *check, const char *what, int location,
						bool clock);
extern void CheckFunction(const Check *check, Oid function, const char *what,
						  int location);

/* check_constant.c */
extern void CheckConstant(Check *check, Const *value);
extern void CheckValueFunction(Check *check, SQLValueFunction *function);

#endif							/* WALLET_PROJECTION_CHECK_H */
