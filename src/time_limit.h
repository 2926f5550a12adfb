/*
 * time_limit.h
 *		How long one batch may take: wallet_projection.batch_timeout.
 */
#ifndef WALLET_PROJECTION_TIME_LIMIT_H
#define WALLET_PROJECTION_TIME_LIMIT_H

extern void TimeLimitBegin(void);
extern bool TimeLimitEnd(void);
extern bool TimeLimitIsOver(void);
extern void TimeLimitCheck(void);
extern void TimeLimitExplain(ErrorData *error);
extern ErrorData *TimeLimitError(void);

#endif							/* WALLET_PROJECTION_TIME_LIMIT_H */
