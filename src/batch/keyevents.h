/*
 * keyevents.h
 *		The events of one key, read out of the stream.
 */
#ifndef WALLET_PROJECTION_KEYEVENTS_H
#define WALLET_PROJECTION_KEYEVENTS_H

#include "batch/onekey.h"

extern char *KeyEventsIndex(const ApplyScope *scope);
extern bool KeyEventsIndexed(const ApplyScope *scope);
extern bool KeyEventsRead(const ApplyScope *scope, const KeyTask *task,
						  int64 first, int64 last, EventReceiver receive,
						  void *state);
extern void KeyEventFold(const ApplyScope *scope, const KeyTask *task,
						 Fold *fold, const Event *event);

#endif							/* WALLET_PROJECTION_KEYEVENTS_H */
