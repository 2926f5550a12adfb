/*
 * savepoint.h
 *		A step in a subtransaction: all of it, or an error and nothing.
 */
#ifndef WALLET_PROJECTION_SAVEPOINT_H
#define WALLET_PROJECTION_SAVEPOINT_H

typedef void (*SavepointStep) (void *arg);

extern ErrorData *InSavepoint(SavepointStep step, void *arg);
extern ErrorData *InSavepointOfBatch(SavepointStep step, void *arg);
extern ErrorData *InSavepointUndone(SavepointStep step, void *arg);
extern void SavepointRethrowInterrupt(ErrorData *error);

#endif							/* WALLET_PROJECTION_SAVEPOINT_H */
