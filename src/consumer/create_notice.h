/*
 * create_notice.h
 *		What somebody who creates a projection should know of it.
 */
#ifndef WALLET_PROJECTION_CREATE_NOTICE_H
#define WALLET_PROJECTION_CREATE_NOTICE_H

#include "definition/projection.h"
#include "handler/sink.h"

extern void CreateNotices(const Projection *projection, const Sink *sink,
						  const Stream *stream, Relation read_model);

#endif							/* WALLET_PROJECTION_CREATE_NOTICE_H */
