# sql/ is what is shipped, test/ is what is run, expected/ is what must come out.

EXTENSION = wallet_projection
MODULE_big = wallet_projection
DATA = $(wildcard sql/wallet_projection--*.sql)
PGFILEDESC = "wallet_projection - partitioned projections of event streams"

OBJS = \
	src/wallet_projection.o \
	src/amount.o \
	src/argument.o \
	src/catalog.o \
	src/keylock.o \
	src/rowwriter.o \
	src/unique_index.o \
	src/stream/aggregate.o \
	src/stream/append.o \
	src/stream/catalog.o \
	src/stream/new_event.o \
	src/stream/read.o \
	src/stream/reader.o \
	src/stream/settle.o \
	src/stream/shape.o \
	src/wallet/wallet.o \
	src/handler/apply.o \
	src/handler/fold.o \
	src/handler/read_model.o \
	src/handler/rowcache.o \
	src/handler/wallet_balance.o \
	src/projection/batch.o \
	src/projection/catalog.o \
	src/projection/consume.o \
	src/projection/gapwatch.o \
	src/projection/lifecycle.o \
	src/projection/owner.o \
	src/projection/partition.o \
	src/projection/position.o \
	src/projection/run.o \
	src/projection/wallet_query.o

PG_CPPFLAGS = -I$(srcdir)/src
override PG_CFLAGS += -fvisibility=hidden
SHLIB_LINK = -luuid

REGRESS = $(sort $(notdir $(basename $(wildcard $(srcdir)/test/sql/*.sql))))
REGRESS_OPTS = --inputdir=$(srcdir)/test
ISOLATION = $(sort $(notdir $(basename $(wildcard $(srcdir)/test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS knows nothing of our headers
$(OBJS) $(OBJS:.o=.bc): $(wildcard $(srcdir)/src/*.h $(srcdir)/src/*/*.h)
