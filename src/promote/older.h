/*
 * older.h
 *		Statements whose snapshot is older than what has just been committed.
 */
#ifndef WALLET_PROJECTION_OLDER_H
#define WALLET_PROJECTION_OLDER_H

extern void OlderSnapshotsWait(int milliseconds);

#endif							/* WALLET_PROJECTION_OLDER_H */
