/*
 * native_row.h
 *		One key's row, made of its events by a native projection's handler.
 */
#ifndef WALLET_PROJECTION_NATIVE_ROW_H
#define WALLET_PROJECTION_NATIVE_ROW_H

#include "handler/handler.h"

typedef struct NativeRow
{
	const RowHandler *handler;
	void	   *state;
	bool		exists;
} NativeRow;

extern NativeRow *NativeRowBegin(const RowHandler *handler);
extern const char *NativeRowAdd(NativeRow *row, const Event *event);
extern const char *NativeRowValues(const NativeRow *row, Datum *values,
								   bool *nulls);

#endif							/* WALLET_PROJECTION_NATIVE_ROW_H */
