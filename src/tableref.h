/*
 * tableref.h
 *		Which table a row of the extension's catalog means.
 *
 * A table is written down by its OID and by its name.  The OID is exact, but
 * true only in the installation of the extension that has written it: after a
 * restore it is nothing, or another table.  The name survives a restore, and
 * is followed where the table is renamed.
 *
 *	- An OID that was written down here is trusted, whatever the name is.  If
 *	  the table is gone, no other takes its place.
 *	- One that was written down elsewhere is not looked at: the name leads to
 *	  the table.
 *
 * The name that the table was given at the beginning is kept as well: where
 * another table has it, somebody has put that in its place.
 */
#ifndef WALLET_PROJECTION_TABLEREF_H
#define WALLET_PROJECTION_TABLEREF_H

#include "utils/relcache.h"

typedef struct TableRef
{
	Oid			relid;			/* as written down */
	bool		here;			/* in this installation, so it is true */
	char	   *schema;			/* the table's first name; or NULL */
	char	   *name;
	char	   *new_schema;		/* its name now, if that is another; or NULL */
	char	   *new_name;
	char	   *installation;	/* where it was written down */
} TableRef;

/*
 * The columns of a reference in a catalog's row: that of the OID, and the
 * first of five that follow each other.
 */
typedef struct TableRefColumns
{
	int			relid;
	int			schema;
} TableRefColumns;

#define TABLEREF_NATTS 5

extern TableRef TableRefRead(Relation catalog, TableRefColumns columns,
							 const Datum *values, const bool *nulls);
extern void TableRefWrite(const TableRef *ref, TableRefColumns columns,
						  Datum *values, bool *nulls);
extern TableRef TableRefOf(Relation catalog, Oid relid);
extern Oid	TableRefFind(const TableRef *ref);
extern bool TableRefIsStale(const TableRef *ref, Oid relid);
extern void TableRefRenew(TableRef *ref, Relation catalog, Oid relid);
extern Oid	TableRefUsurper(const TableRef *ref, Oid relid);
extern char *TableNameOf(Oid relid);

#endif							/* WALLET_PROJECTION_TABLEREF_H */
