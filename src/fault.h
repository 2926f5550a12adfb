/*
 * fault.h
 *		Whose fault an error is.
 */
#ifndef WALLET_PROJECTION_FAULT_H
#define WALLET_PROJECTION_FAULT_H

extern bool ErrorIsOfKey(int sqlerrcode);
extern bool ErrorIsOfDefinition(int sqlerrcode);
extern bool ErrorIsOfEvent(int sqlerrcode);
extern bool ErrorIsOfShutdown(const ErrorData *error);

#endif							/* WALLET_PROJECTION_FAULT_H */
