/*
 * notice.h
 *		What a transaction has done that workers want to know.
 *
 * The rooms below say here what they do, as they do it.  It is passed on when
 * the transaction has committed: not before, not what a rolled back savepoint
 * has taken back, and nothing on abort or at PREPARE.  COMMIT PREPARED passes
 * nothing on either, as the server tells no extension of it: who waits for
 * notices must look by himself now and then.
 *
 * As long as nobody has asked for notices by NoticesDeliverTo(), nothing is
 * kept; but for dead letters, which listeners are told of by NOTIFY.
 */
#ifndef WALLET_PROJECTION_NOTICE_H
#define WALLET_PROJECTION_NOTICE_H

#include "access/xact.h"

#define APPEND_NOTICES		64
#define PROGRESS_NOTICES	16

/* Events were appended to a stream. */
typedef struct AppendNotice
{
	Oid			stream;			/* its table */
	bool		any;			/* of any type and key */
	uint64		type;			/* KeyHash() of the aggregate type */
	uint64		key;			/* KeyHash() of the aggregate id */
	SubTransactionId subxact;
} AppendNotice;

/* A batch has gone on. */
typedef struct ProgressNotice
{
	char		projection[NAMEDATALEN];
	int64		events;			/* applied */
	int64		numbers;		/* passed, summed over the partitions */
	int64		last_number;	/* that the stream had drawn then; 0: unknown */
	SubTransactionId subxact;
} ProgressNotice;

typedef struct Notices
{
	int			appends;
	bool		append_lost;	/* there were more than could be kept */
	int			progresses;
	bool		progress_lost;
	bool		desired;		/* what is to run has changed */
	AppendNotice append[APPEND_NOTICES];
	ProgressNotice progress[PROGRESS_NOTICES];
} Notices;

/* Called after commit: it must not raise an error. */
typedef void (*NoticeDelivery) (const Notices *notices);

extern void NoticesDeliverTo(NoticeDelivery delivery);
extern void NoticeAppend(Oid stream, Datum type, Datum key);
extern void NoticeAppendAny(Oid stream);
extern void NoticeProgress(const char *projection, int64 events,
						   int64 numbers, int64 last_number);
extern void NoticeDesired(void);
extern void NoticeDeadLetter(const char *payload);

#endif							/* WALLET_PROJECTION_NOTICE_H */
