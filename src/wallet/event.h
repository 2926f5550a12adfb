/*
 * event.h
 *		What a wallet's events look like.
 */
#ifndef WALLET_PROJECTION_EVENT_H
#define WALLET_PROJECTION_EVENT_H

#include "amount.h"

extern Jsonb *WalletPayload(const char *wallet_id, const char *amount_key,
							Numeric amount);
extern Jsonb *WalletSnapshot(Datum wallet_id, int64 version,
							 Amount balance);
extern bool WalletSnapshotBalance(Datum metadata, Datum wallet_id,
								  int64 version, Amount *balance);

#endif							/* WALLET_PROJECTION_EVENT_H */
