/*
 * obstacles.h
 *		What stands against a promotion.
 */
#ifndef WALLET_PROJECTION_OBSTACLES_H
#define WALLET_PROJECTION_OBSTACLES_H

#include "nodes/pg_list.h"

extern List *ObstaclesToNames(Oid old, Oid new);
extern List *ObstaclesToRows(Oid old, Oid new);

#endif							/* WALLET_PROJECTION_OBSTACLES_H */
