/*
 * errors.h
 *		SQLSTATEs of our own, class WP.
 *
 * The SQL standard leaves classes that begin with I to Z to implementations.
 * doc/reference.md and the SQL script list them for users.
 */
#ifndef WALLET_PROJECTION_ERRORS_H
#define WALLET_PROJECTION_ERRORS_H

#define ERRCODE_WALLET_INSUFFICIENT_FUNDS	MAKE_SQLSTATE('W','P','0','0','1')
#define ERRCODE_WALLET_AMOUNT_NOT_POSITIVE	MAKE_SQLSTATE('W','P','0','0','2')
#define ERRCODE_WALLET_UNKNOWN				MAKE_SQLSTATE('W','P','0','0','3')
#define ERRCODE_WALLET_EXISTS				MAKE_SQLSTATE('W','P','0','0','4')
#define ERRCODE_BAD_EVENT					MAKE_SQLSTATE('W','P','0','0','5')
#define ERRCODE_TOO_MANY_PARKED				MAKE_SQLSTATE('W','P','0','0','6')

#endif							/* WALLET_PROJECTION_ERRORS_H */
