/*
 * compiled.h
 *		A declared projection's definition, ready to run in this process.
 */
#ifndef WALLET_PROJECTION_COMPILED_H
#define WALLET_PROJECTION_COMPILED_H

#include "definition/projection.h"
#include "handler/sink.h"

typedef struct Compiled
{
	Sink		sink;
	bool		in_use;
} Compiled;

extern Merge *DeclaredParse(const Declared *declared, Oid stream);
extern Compiled *CompiledMake(const Projection *projection,
							  const Stream *stream, Relation read_model);

#endif							/* WALLET_PROJECTION_COMPILED_H */
