/*
 * replay_event.h
 *		An event whose key could not be computed is tried again.
 */
#ifndef WALLET_PROJECTION_REPLAY_EVENT_H
#define WALLET_PROJECTION_REPLAY_EVENT_H

#include "batch/opened.h"
#include "batch/replay.h"
#include "batch/writekeys.h"
#include "parking/park.h"

extern ReplayResult ReplayEvent(OpenProjection *work, ApplyScope *scope,
								Parked *parked, bool wait, bool leave_late);

#endif							/* WALLET_PROJECTION_REPLAY_EVENT_H */
