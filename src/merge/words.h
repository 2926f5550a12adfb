/*
 * words.h
 *		The words of a definition, for hints that quote it.
 *
 * No grammar: PostgreSQL's parser has the say, and has refused the text
 * already.
 */
#ifndef WALLET_PROJECTION_WORDS_H
#define WALLET_PROJECTION_WORDS_H

typedef enum WordKind
{
	WORD_NAME,					/* a keyword, or a name without quotes */
	WORD_QUOTED_NAME,
	WORD_STRING,
	WORD_NUMBER,
	WORD_OPERATOR,
	WORD_MARK					/* ( ) [ ] , ; . */
} WordKind;

typedef struct Word
{
	WordKind	kind;
	const char *at;				/* in the definition */
	int			length;			/* bytes */
	int			depth;			/* of parentheses around it, CASE and END
								 * counted too */
} Word;

typedef struct Words
{
	const char *definition;
	Word	   *word;
	int			count;
} Words;

extern Words *WordsRead(const char *definition);
extern bool WordIs(const Words *words, int index, const char *what);
extern bool WordIsOneOf(const Words *words, int index,
						const char *const *list);
extern int	WordAtCharacter(const Words *words, int position);
extern int	WordCharacter(const Words *words, int index);
extern char *WordsText(const Words *words, int first, int last);
extern int	WordsFind(const Words *words, int from, const char *what);
extern int	WordsFindBack(const Words *words, int from, const char *what);
extern int	OperandStart(const Words *words, int operator_index);
extern int	OperandEnd(const Words *words, int operator_index);

#endif							/* WALLET_PROJECTION_WORDS_H */
