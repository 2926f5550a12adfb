/*
 * facts.h
 *		Whether anything has changed of what the server's caches say.
 */
#ifndef WALLET_PROJECTION_FACTS_H
#define WALLET_PROJECTION_FACTS_H

extern uint64 FactsNow(void);

#endif							/* WALLET_PROJECTION_FACTS_H */
