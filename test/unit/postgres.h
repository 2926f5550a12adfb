/*
 * postgres.h
 *		The little that pure files use of PostgreSQL's header of this name.
 *
 * With -Itest/unit such a file compiles alone, without PostgreSQL.  Whatever
 * is missing here is missing on purpose: a pure file has no need of it.
 */
#ifndef UNIT_POSTGRES_H
#define UNIT_POSTGRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef int64_t int64;
typedef uint32_t uint32;
typedef uint64_t uint64;
typedef size_t Size;

#define UINT64CONST(x)	UINT64_C(x)
#define PG_INT64_MIN	INT64_MIN
#define PG_INT64_MAX	INT64_MAX
#define Min(x, y)		((x) < (y) ? (x) : (y))
#define Max(x, y)		((x) > (y) ? (x) : (y))
#define Assert(condition) \
	((condition) ? (void) 0 : assert_failed(#condition, __FILE__, __LINE__))

/* these are in support.c */
extern void assert_failed(const char *condition, const char *file, int line);
extern void *palloc(size_t size);
extern void *repalloc(void *pointer, size_t size);
extern void pfree(void *pointer);

#endif							/* UNIT_POSTGRES_H */
