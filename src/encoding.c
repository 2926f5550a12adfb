/*
 * encoding.c
 *		Texts that some encoding has no characters for.
 *
 * An encoding lets in more byte strings than it has characters for: SQL_ASCII
 * any, WIN1252 the byte 0x81, EUC_JP codes without a character, and of
 * MULE_INTERNAL the server converts nothing to UTF-8.  A wallet's id may be
 * one of them.  The server's own functions then raise an error; nothing here
 * does.
 *
 * Only built-in conversions are asked, those of the schema pg_catalog: what a
 * text is in UTF-8 must depend neither on the search_path nor on a conversion
 * that a user has made.
 */
#include "postgres.h"

#include "catalog/pg_conversion.h"
#include "catalog/pg_namespace.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "encoding.h"

/* what stands for a byte that is no character */
#define REPLACEMENT '?'
#define REPLACEMENT_IN_JSON "\\ufffd"

/* Are all bytes ASCII?  Then the text is the same in each server encoding. */
bool
TextIsAscii(const char *string, int length)
{
	for (int i = 0; i < length; i++)
	{
		if (IS_HIGHBIT_SET(string[i]))
			return false;
	}
	return true;
}

/* Convert from the database's encoding by this function; NULL: it cannot. */
static char *
convert(Oid function, int encoding, const char *string, int length)
{
	Size		size = ((Size) length + 1) * MAX_CONVERSION_GROWTH;
	char	   *result;

	if (size > MaxAllocSize)
		return NULL;
	result = palloc(size);
	if (pg_do_encoding_conversion_buf(function, GetDatabaseEncoding(),
									  encoding,
									  unconstify(unsigned char *, (const unsigned char *) string),
									  length, (unsigned char *) result,
									  (int) size, true) == length)
		return result;
	pfree(result);
	return NULL;
}

/* The built-in conversion of the database's encoding to UTF-8. */
static Oid
conversion_to_utf8(void)
{
	static Oid	function = InvalidOid;
	static bool known = false;	/* a database's encoding never changes */

	if (!known)
	{
		function = FindDefaultConversion(PG_CATALOG_NAMESPACE,
										 GetDatabaseEncoding(), PG_UTF8);
		known = true;
	}
	return function;
}

/*
 * A text of the database in UTF-8, with a terminating zero, palloc'd; NULL if
 * it has no characters.  In SQL_ASCII, who knows: what is valid UTF-8 is taken
 * for that.
 */
char *
TextToUtf8(const char *string, int length)
{
	int			encoding = GetDatabaseEncoding();

	if (TextIsAscii(string, length))
		return pnstrdup(string, length);
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return pg_encoding_verifymbstr(PG_UTF8, string, length) == length ?
			pnstrdup(string, length) : NULL;
	if (!OidIsValid(conversion_to_utf8()))
		return NULL;
	return convert(conversion_to_utf8(), PG_UTF8, string, length);
}

/* Append a character of JSON that is not ASCII. */
static void
append_escaped(StringInfo buffer, pg_wchar character)
{
	if (character < 0x10000)
	{
		appendStringInfo(buffer, "\\u%04x", character);
		return;
	}
	character -= 0x10000;
	appendStringInfo(buffer, "\\u%04x\\u%04x", 0xD800 + (character >> 10),
					 0xDC00 + (character & 0x3FF));
}

/*
 * Append a text as a string of JSON that is ASCII alone, so that it can be
 * sent to any client.  A byte that is no character becomes U+FFFD.
 */
void
AppendJsonInAscii(StringInfo buffer, const char *string)
{
	char	   *utf8 = TextToUtf8(string, strlen(string));
	const char *next = utf8 != NULL ? utf8 : string;

	appendStringInfoChar(buffer, '"');
	while (*next != '\0')
	{
		unsigned char c = *next;

		if (IS_HIGHBIT_SET(c) && utf8 != NULL)
		{
			append_escaped(buffer, utf8_to_unicode((const unsigned char *) next));
			next += pg_utf_mblen((const unsigned char *) next);
			continue;
		}
		if (IS_HIGHBIT_SET(c))
			appendStringInfoString(buffer, REPLACEMENT_IN_JSON);
		else if (c < ' ' || c == 0x7F)
			append_escaped(buffer, c);
		else
		{
			if (c == '"' || c == '\\')
				appendStringInfoChar(buffer, '\\');
			appendStringInfoChar(buffer, c);
		}
		next++;
	}
	appendStringInfoChar(buffer, '"');
	if (utf8 != NULL)
		pfree(utf8);
}

/* A copy in which no byte is left that is not ASCII. */
static char *
replace_bytes(const char *string)
{
	char	   *result = pstrdup(string);

	for (char *c = result; *c != '\0'; c++)
	{
		if (IS_HIGHBIT_SET(*c))
			*c = REPLACEMENT;
	}
	return result;
}

/* Can the server send this text to the client as it is? */
static bool
can_be_sent(const char *string)
{
	int			client = pg_get_client_encoding();
	int			length = strlen(string);
	Oid			function;
	char	   *converted;

	if (TextIsAscii(string, length) || client == GetDatabaseEncoding() ||
		client == PG_SQL_ASCII)
		return true;
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return pg_encoding_verifymbstr(client, string, length) == length;
	function = FindDefaultConversion(PG_CATALOG_NAMESPACE,
									 GetDatabaseEncoding(), client);
	if (!OidIsValid(function))
		return false;
	converted = convert(function, client, string, length);
	if (converted == NULL)
		return false;
	pfree(converted);
	return true;
}

/*
 * The text for a message to the client that must not fail: a WARNING with a
 * text that cannot be sent becomes an ERROR.  In a transaction.
 */
char *
TextForClient(const char *string)
{
	return can_be_sent(string) ? pstrdup(string) : replace_bytes(string);
}

/*
 * The text for a column that any client may read: most of them use UTF-8, and
 * what that has no characters for would fail the whole query.
 */
char *
TextForEverybody(const char *string)
{
	char	   *utf8 = TextToUtf8(string, strlen(string));

	return utf8 != NULL ? pstrdup(string) : replace_bytes(string);
}

/*
 * A text that was written in another database, whose encoding may be another:
 * what is not valid here must not come into a result.
 */
char *
TextOfOtherDatabase(const char *string)
{
	int			length = strlen(string);

	if (pg_encoding_verifymbstr(GetDatabaseEncoding(), string, length) == length)
		return pstrdup(string);
	return replace_bytes(string);
}
