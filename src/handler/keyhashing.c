/*
 * keyhashing.c
 *		How the values of a type are hashed to choose the partition.
 *
 * A hash must come out the same in each process, after an upgrade of the
 * operating system, and in the database that a dump is restored into.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "handler/key.h"

/*
 * Does equality depend on a collation's provider?  A type of an extension
 * that has collations (citext) may ask it whatever the collation is.
 */
static bool
asks_provider(Oid type, Oid collation)
{
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		return true;
	return type >= FirstUnpinnedObjectId && get_typtype(type) == TYPTYPE_BASE &&
		OidIsValid(get_typcollation(type));
}

/* Do the values name objects of a database by their OIDs? */
static bool
names_objects(Oid type)
{
	switch (type)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGTYPEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGROLEOID:
			return true;
		default:
			return false;
	}
}

/*
 * A row is hashed column by column.  One of enums and numerics could be hashed
 * neither by PostgreSQL, nor by its text, as 1.0 and 1.00 are equal.
 */
static KeyHashing
hashing_of_row(Oid type)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		KeyHashing	hashing;

		if (column->attisdropped)
			continue;
		hashing = KeyHashingOf(column->atttypid, column->attcollation);
		if (hashing == KEY_HASH_OUTPUT || hashing == KEY_HASH_NONE)
			return KEY_HASH_NONE;
	}
	return KEY_HASH_FUNCTION;
}

/* Values that are made of others: like these, if by no text or number. */
static KeyHashing
hashing_of_parts(Oid type, Oid collation)
{
	KeyHashing	hashing = KeyHashingOf(type, collation);

	return hashing == KEY_HASH_OUTPUT || hashing == KEY_HASH_NONE ? hashing :
		KEY_HASH_FUNCTION;
}

static KeyHashing
hashing_of_range(Oid range)
{
	return hashing_of_parts(get_range_subtype(range),
							get_range_collation(range));
}

/* The types that have others within. */
static KeyHashing
hashing_of_other(Oid type, Oid collation)
{
	Oid			element = get_base_element_type(type);

	if (OidIsValid(element))
		return hashing_of_parts(element, collation);
	switch (get_typtype(type))
	{
		case TYPTYPE_ENUM:
			return KEY_HASH_OUTPUT;
		case TYPTYPE_COMPOSITE:
			return hashing_of_row(type);
		case TYPTYPE_MULTIRANGE:
			return hashing_of_range(get_multirange_range(type));
		case TYPTYPE_RANGE:
			return hashing_of_range(type);
		default:
			return KEY_HASH_FUNCTION;
	}
}

/* How a column of this type is hashed. */
KeyHashing
KeyHashingOf(Oid type, Oid collation)
{
	type = getBaseType(type);
	if (asks_provider(type, collation) || names_objects(type))
		return KEY_HASH_NONE;
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
			return KEY_HASH_TEXT;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return KEY_HASH_INTEGER;
		case UUIDOID:
			return KEY_HASH_UUID;
		default:
			return hashing_of_other(type, collation);
	}
}
