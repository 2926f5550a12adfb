/*
 * encoding.h
 *		Texts that some encoding has no characters for.
 */
#ifndef WALLET_PROJECTION_ENCODING_H
#define WALLET_PROJECTION_ENCODING_H

#include "lib/stringinfo.h"

extern bool TextIsAscii(const char *string, int length);
extern char *TextToUtf8(const char *string, int length);
extern void AppendJsonInAscii(StringInfo buffer, const char *string);
extern char *TextForClient(const char *string);
extern char *TextForEverybody(const char *string);
extern char *TextOfOtherDatabase(const char *string);

#endif							/* WALLET_PROJECTION_ENCODING_H */
