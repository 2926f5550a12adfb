# sql/ is what is shipped, test/ is what is run, expected/ is what must come out.

EXTENSION = wallet_projection
MODULE_big = wallet_projection
DATA = $(patsubst $(srcdir)/%,%,$(wildcard $(srcdir)/sql/wallet_projection--*.sql))
PGFILEDESC = "wallet_projection - partitioned projections of event streams"

OBJS = \
	src/wallet_projection.o \
	src/amount.o \
	src/argument.o \
	src/catalog.o \
	src/catalog_row.o \
	src/encoding.o \
	src/facts.o \
	src/fault.o \
	src/keyhash.o \
	src/keylock.o \
	src/notice.o \
	src/remember.o \
	src/rowwriter.o \
	src/savepoint.o \
	src/tablelook.o \
	src/tableref.o \
	src/tablesize.o \
	src/unique_index.o \
	src/definition/merge.o \
	src/definition/merge_action.o \
	src/definition/merge_advice.o \
	src/definition/merge_describe.o \
	src/definition/merge_fanout.o \
	src/definition/merge_item.o \
	src/definition/merge_key.o \
	src/definition/merge_on.o \
	src/definition/merge_place.o \
	src/definition/merge_rights.o \
	src/definition/merge_show.o \
	src/definition/merge_source.o \
	src/definition/merge_table.o \
	src/definition/merge_upsert.o \
	src/stream/aggregate.o \
	src/stream/append.o \
	src/stream/catalog.o \
	src/stream/find.o \
	src/stream/event_id.o \
	src/stream/history.o \
	src/stream/new_event.o \
	src/stream/numbers.o \
	src/stream/read.o \
	src/stream/reader.o \
	src/stream/generations.o \
	src/stream/settle.o \
	src/stream/shape.o \
	src/stream/tables.o \
	src/wallet/event.o \
	src/wallet/wallet.o \
	src/handler/apply.o \
	src/handler/fit.o \
	src/handler/fold.o \
	src/handler/merge_check.o \
	src/handler/merge_fan_out.o \
	src/handler/merge_items.o \
	src/handler/merge_row.o \
	src/handler/merge_run.o \
	src/handler/merge_shorten.o \
	src/handler/try.o \
	src/handler/try_event.o \
	src/handler/try_sequence.o \
	src/handler/try_trace.o \
	src/handler/read_model.o \
	src/handler/rowcache.o \
	src/handler/wallet_balance.o \
	src/projection/batch.o \
	src/projection/catalog.o \
	src/projection/choice.o \
	src/projection/claim.o \
	src/projection/consume.o \
	src/projection/dead_letter.o \
	src/projection/deferred.o \
	src/projection/definition.o \
	src/projection/failure.o \
	src/projection/gapwatch.o \
	src/projection/isolate.o \
	src/projection/known.o \
	src/projection/lifecycle.o \
	src/projection/oldgaps.o \
	src/projection/onekey.o \
	src/projection/owner.o \
	src/projection/park.o \
	src/projection/claims.o \
	src/projection/lanes.o \
	src/projection/parkedset.o \
	src/projection/position.o \
	src/projection/replay.o \
	src/projection/retry.o \
	src/projection/run.o \
	src/projection/served.o \
	src/projection/sets.o \
	src/projection/skip.o \
	src/projection/time_limit.o \
	src/projection/trouble.o \
	src/projection/wallet_query.o \
	src/projection/wishes.o \
	src/projection/work.o \
	src/projection/writekeys.o \
	src/worker/behind.o \
	src/worker/control.o \
	src/worker/finding.o \
	src/worker/launcher.o \
	src/worker/meter.o \
	src/worker/override.o \
	src/worker/positions.o \
	src/worker/slots.o \
	src/worker/status.o \
	src/worker/turns.o \
	src/worker/wait.o \
	src/worker/worker.o

PG_CPPFLAGS = -I$(srcdir)/src
override PG_CFLAGS += -fvisibility=hidden
SHLIB_LINK = -luuid

REGRESS = $(sort $(notdir $(basename $(wildcard $(srcdir)/test/sql/*.sql))))
REGRESS_OPTS = --inputdir=$(srcdir)/test
ISOLATION = $(sort $(notdir $(basename $(wildcard $(srcdir)/test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation

# on a server with background workers the tests want to do the work themselves
installcheck: export PGOPTIONS += -c wallet_projection.autostart=off

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# a build elsewhere needs directories like ours, which PGXS does not make
ifdef VPATH
$(shell mkdir -p $(sort $(dir $(OBJS))))
endif

# PGXS knows nothing of our headers
$(OBJS) $(OBJS:.o=.bc): $(wildcard $(srcdir)/src/*.h $(srcdir)/src/*/*.h)
