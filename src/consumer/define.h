/*
 * define.h
 *		A definition that a projection is given: read, checked, written down.
 */
#ifndef WALLET_PROJECTION_DEFINE_H
#define WALLET_PROJECTION_DEFINE_H

#include "definition/projection.h"
#include "merge/merge.h"
#include "stream/stream.h"

extern Merge *DefinitionRead(const Projection *projection, Oid stream);
extern void DefinitionNote(Declared *declared, const Merge *merge);
extern void DefinitionCompile(const Projection *projection,
							  const Stream *stream, Relation read_model);

#endif							/* WALLET_PROJECTION_DEFINE_H */
