/*
 * survey.h
 *		The survey: after its start, the launcher asks each database once
 *		what is started in it.
 */
#ifndef WALLET_PROJECTION_SURVEY_H
#define WALLET_PROJECTION_SURVEY_H

extern bool SurveyGoOn(void);

#endif							/* WALLET_PROJECTION_SURVEY_H */
