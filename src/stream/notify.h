/*
 * notify.h
 *		Writers that know nothing of us wake the workers: stream_notify.
 */
#ifndef WALLET_PROJECTION_NOTIFY_H
#define WALLET_PROJECTION_NOTIFY_H

extern void NotifyDrop(Oid relid);

#endif							/* WALLET_PROJECTION_NOTIFY_H */
