/*
 * storage/lock.h
 *		The little that pure files use of PostgreSQL's header of this name.
 *
 * The fields have other names from release to release: a pure file compares
 * ids, and looks into none.
 */
#ifndef UNIT_STORAGE_LOCK_H
#define UNIT_STORAGE_LOCK_H

typedef struct VirtualTransactionId
{
	int			process;		/* -1: known by its transaction alone */
	int			transaction;
} VirtualTransactionId;

#define VirtualTransactionIdEquals(a, b) \
	((a).process == (b).process && (a).transaction == (b).transaction)

#endif							/* UNIT_STORAGE_LOCK_H */
