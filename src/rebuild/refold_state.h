/*
 * refold_state.h
 *		What the parts of a refold share.
 */
#ifndef WALLET_PROJECTION_REFOLD_STATE_H
#define WALLET_PROJECTION_REFOLD_STATE_H

#include "handler/read_model.h"
#include "rebuild/applied.h"
#include "rebuild/refold.h"
#include "rebuild/shadow.h"

/* An event whose key cannot be computed, though it is applied. */
typedef struct RefoldNoKey
{
	int64		no;
	char	   *fault;
} RefoldNoKey;

struct Refold
{
	MemoryContext context;
	OpenProjection *work;		/* as the current transaction has opened it */

	/* what the projection is; refold_sink.c writes it */
	Projection *projection;		/* a copy, to see whether it has changed */
	TupleDesc	desc;			/* of the read model, a copy */
	MemoryContext sink_context;
	Sink		sink;			/* the work's, with a run of its own */
	ReadModel	model;			/* of a native projection: its columns */
	Bitmapset  *columns;		/* that are compared */
	FmgrInfo   *output;			/* by column; fn_oid InvalidOid: not yet */
	TupleTableSlot *old_row;	/* a row of the shadow */
	TupleTableSlot *new_row;	/* one that is being made; a virtual one */
	int			type_length;	/* of the projection's aggregate type */

	/* what has been folded; refold.c */
	uint32		first;			/* of the hashes' upper halves */
	uint32		last;
	Shadow	   *shadow;
	bool		compared;		/* only keys that are there are folded */
	bool		checked;		/* the table's constraints are */
	bool		guarded;		/* each event is read in a subtransaction */
	Applied    *reached[GROUPS_MAX];
	List	   *no_keys;		/* of RefoldNoKey */
	int64		unkeyed;		/* rows of the table whose key is null */
	const NumberSet *leave_out; /* events that are not folded; or NULL */
	const char *only_key;		/* its events are read by themselves; or NULL */

	RefoldWatcher watch;		/* or NULL */
	void	   *watch_arg;

	/* while it is advancing */
	Snapshot	snapshot;
	Applied    *now;
	int			group;			/* or -1 */
	MemoryContext fold_context;
	Fold	   *fold;
	int			until_check;	/* events until memory is looked at */
	int64		read_from;		/* the numbers that are read in order */
	int64		read_to;
	const Event *event;			/* whose items are being taken */
	MemoryContext row_context;	/* reset after each key */
	FoldedKey  *keys;			/* of the fold, being applied */
	int64		nkeys;
	int64		at;				/* which one of them */
	bool		all_new;		/* none of them is in the shadow */
	int64		item_no;		/* which item of it */
	Size		most;			/* memory that was used at most */
};

/* A comparison that runs. */
typedef struct RefoldComparison
{
	Refold	   *refold;
	bool		keep_surplus;
	RefoldReceiver receive;
	void	   *arg;
	int64		compared;		/* keys */
} RefoldComparison;

/* refold_compare.c */
extern bool RefoldRowsDiffer(Refold *refold, TupleTableSlot *expected,
							 TupleTableSlot *actual, bool *columns);
extern bool RefoldKeyOfRow(Refold *refold, TupleTableSlot *row,
						   const char **image, int *length, uint32 *hash);
extern TupleTableSlot *RefoldRowOf(Refold *refold, const ShadowEntry *entry);

/* refold_tell.c */
extern char *RefoldValueText(Refold *refold, TupleTableSlot *row, int column);
extern void RefoldTellRow(const RefoldComparison *comparison, RefoldKey *key,
						  RefoldProblem problem, TupleTableSlot *expected,
						  TupleTableSlot *actual);
extern void RefoldTell(const RefoldComparison *comparison, ShadowEntry *entry,
					   TupleTableSlot *actual);
extern void RefoldTellNoKeys(const RefoldComparison *comparison);

/* refold_sink.c */
extern void RefoldOpenSink(Refold *refold);
extern void RefoldCloseSink(Refold *refold);

/* refold_read.c */
extern void RefoldRead(Refold *refold);
extern bool RefoldWantsKey(Refold *refold, const char *image, int length,
						   uint32 hash);

/* refold_apply.c */
extern void RefoldBeginFold(Refold *refold);
extern void RefoldApply(Refold *refold);

/* refold.c */
extern void RefoldNarrow(Refold *refold);
extern void RefoldReport(Refold *refold, int64 no);
extern RefoldKey *RefoldKeyOf(Refold *refold, ShadowEntry *entry);
extern Size RefoldShare(void);
extern uint32 RefoldHash(Refold *refold, const char *image, int length);

#endif							/* WALLET_PROJECTION_REFOLD_STATE_H */
