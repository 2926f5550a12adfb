/*
 * members.h
 *		Whether positions are true for the partitions that the stream has now.
 */
#ifndef WALLET_PROJECTION_MEMBERS_H
#define WALLET_PROJECTION_MEMBERS_H

#include "position/trouble.h"

extern Trouble *TroubleOfMembers(const Projection *projection,
								 Relation relation, const StreamParts *parts,
								 const Positions *positions);
extern Trouble *TroubleOfMemberKinds(const char *stream, Relation relation);
extern void MembersKeep(Projection *projection, const Stream *stream);
extern void MembersAccept(Projection *projection, Relation relation);

#endif							/* WALLET_PROJECTION_MEMBERS_H */
