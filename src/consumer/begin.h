/*
 * begin.h
 *		Where a projection begins, and ends.
 */
#ifndef WALLET_PROJECTION_BEGIN_H
#define WALLET_PROJECTION_BEGIN_H

#include "definition/projection.h"

extern void ProjectionBegin(Projection *projection);
extern void ProjectionLockRebuild(const Projection *projection);
extern void ProjectionForgetParked(const Projection *projection);
extern Oid	ProjectionStreamTable(const Projection *projection);
extern void ReadModelLockAlone(const Projection *projection);
extern void ProjectionEnd(const Projection *projection);

#endif							/* WALLET_PROJECTION_BEGIN_H */
