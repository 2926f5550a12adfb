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
	src/catalog_write.o \
	src/encoding.o \
	src/facts.o \
	src/fault.o \
	src/keyhash.o \
	src/keylock.o \
	src/nap.o \
	src/notice.o \
	src/numberset.o \
	src/position.o \
	src/remember.o \
	src/retry.o \
	src/rowwriter.o \
	src/savepoint.o \
	src/tablelook.o \
	src/tableref.o \
	src/tablesize.o \
	src/time_limit.o \
	src/unique_index.o \
	src/stream/aggregate.o \
	src/stream/append.o \
	src/stream/at_time.o \
	src/stream/attach.o \
	src/stream/attached.o \
	src/stream/attached_sequence.o \
	src/stream/attached_table.o \
	src/stream/create.o \
	src/stream/event_id.o \
	src/stream/event_now.o \
	src/stream/find.o \
	src/stream/generations.o \
	src/stream/guard.o \
	src/stream/history.o \
	src/stream/merged.o \
	src/stream/named.o \
	src/stream/new_event.o \
	src/stream/notify.o \
	src/stream/numbers.o \
	src/stream/partitions.o \
	src/stream/read.o \
	src/stream/reader.o \
	src/stream/rows.o \
	src/stream/settle.o \
	src/stream/shape.o \
	src/stream/stream.o \
	src/stream/tables.o \
	src/merge/check.o \
	src/merge/check_constant.o \
	src/merge/collation_use.o \
	src/merge/fingerprint.o \
	src/merge/fingerprint_key.o \
	src/merge/hint_names.o \
	src/merge/hint_syntax.o \
	src/merge/hint_types.o \
	src/merge/merge.o \
	src/merge/merge_action.o \
	src/merge/merge_advice.o \
	src/merge/merge_check.o \
	src/merge/merge_clock.o \
	src/merge/merge_describe.o \
	src/merge/merge_fanout.o \
	src/merge/merge_hint.o \
	src/merge/merge_item.o \
	src/merge/merge_key.o \
	src/merge/merge_meaning.o \
	src/merge/merge_on.o \
	src/merge/merge_place.o \
	src/merge/merge_rights.o \
	src/merge/merge_show.o \
	src/merge/merge_source.o \
	src/merge/merge_table.o \
	src/merge/merge_upsert.o \
	src/merge/merge_uses.o \
	src/merge/pinned.o \
	src/merge/stable_functions.o \
	src/merge/statement.o \
	src/merge/statement_columns.o \
	src/merge/statement_key.o \
	src/merge/words.o \
	src/handler/apply.o \
	src/handler/apply_declared.o \
	src/handler/apply_row.o \
	src/handler/apply_statement.o \
	src/handler/fit.o \
	src/handler/fold.o \
	src/handler/key.o \
	src/handler/keyhashing.o \
	src/handler/merge_check.o \
	src/handler/merge_fan_out.o \
	src/handler/merge_items.o \
	src/handler/merge_layout.o \
	src/handler/merge_row.o \
	src/handler/merge_run.o \
	src/handler/merge_shorten.o \
	src/handler/merge_sum.o \
	src/handler/merge_tested.o \
	src/handler/native_row.o \
	src/handler/read_model.o \
	src/handler/registry.o \
	src/handler/rowcache.o \
	src/handler/sink.o \
	src/handler/statement_run.o \
	src/handler/try.o \
	src/handler/try_difference.o \
	src/handler/try_event.o \
	src/handler/try_sequence.o \
	src/handler/try_statement.o \
	src/handler/try_trace.o \
	src/handler/unhandled.o \
	src/definition/advised.o \
	src/definition/compiled.o \
	src/definition/declared.o \
	src/definition/desired.o \
	src/definition/known.o \
	src/definition/ordering.o \
	src/definition/owner.o \
	src/definition/projection.o \
	src/definition/stream_tables.o \
	src/position/choice.o \
	src/position/claims.o \
	src/position/gapwatch.o \
	src/position/lanes.o \
	src/position/members.o \
	src/position/oldgaps.o \
	src/position/sets.o \
	src/position/trouble.o \
	src/parking/park.o \
	src/parking/parkedset.o \
	src/parking/skip.o \
	src/batch/batch.o \
	src/batch/blame.o \
	src/batch/claim.o \
	src/batch/deferred.o \
	src/batch/failure.o \
	src/batch/isolate.o \
	src/batch/keyevents.o \
	src/batch/nokey.o \
	src/batch/onekey.o \
	src/batch/opened.o \
	src/batch/reading.o \
	src/batch/replay.o \
	src/batch/replay_event.o \
	src/batch/taken.o \
	src/batch/unhandled_counts.o \
	src/batch/writekeys.o \
	src/rebuild/anew.o \
	src/rebuild/applied.o \
	src/rebuild/attempt.o \
	src/rebuild/beginning.o \
	src/rebuild/board.o \
	src/rebuild/chunk.o \
	src/rebuild/keyrow.o \
	src/rebuild/late.o \
	src/rebuild/rebuild.o \
	src/rebuild/refold.o \
	src/rebuild/refold_apply.o \
	src/rebuild/refold_compare.o \
	src/rebuild/refold_keys.o \
	src/rebuild/refold_read.o \
	src/rebuild/refold_sink.o \
	src/rebuild/refold_tell.o \
	src/rebuild/rounds.o \
	src/rebuild/selfcheck.o \
	src/rebuild/shadow.o \
	src/rebuild/unkeyed.o \
	src/rebuild/verify.o \
	src/promote/alike.o \
	src/promote/compare.o \
	src/promote/comparison.o \
	src/promote/obstacles.o \
	src/promote/older.o \
	src/promote/pair.o \
	src/promote/promote.o \
	src/promote/reach.o \
	src/promote/references.o \
	src/promote/rename.o \
	src/promote/retarget.o \
	src/promote/sql.o \
	src/promote/swap.o \
	src/promote/switch.o \
	src/consumer/alter.o \
	src/consumer/assignment.o \
	src/consumer/consume.o \
	src/consumer/create.o \
	src/consumer/create_check.o \
	src/consumer/create_notice.o \
	src/consumer/dead_letter.o \
	src/consumer/define.o \
	src/consumer/lifecycle.o \
	src/consumer/options.o \
	src/consumer/rebuild.o \
	src/consumer/reset.o \
	src/consumer/row_at.o \
	src/consumer/run.o \
	src/wallet/event.o \
	src/wallet/wallet.o \
	src/wallet/wallet_at.o \
	src/wallet/wallet_balance.o \
	src/wallet/wallet_query.o \
	src/worker/behind.o \
	src/worker/control.o \
	src/worker/finding.o \
	src/worker/health.o \
	src/worker/held.o \
	src/worker/launcher.o \
	src/worker/meter.o \
	src/worker/override.o \
	src/worker/positions.o \
	src/worker/rotation.o \
	src/worker/slots.o \
	src/worker/status.o \
	src/worker/survey.o \
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

# Bitcode, for the inlining of functions that queries call for each row, brings
# nothing here; it wants clang, and as much time again.  with_llvm=yes makes it.
ifneq ($(origin with_llvm), command line)
override with_llvm = no
endif

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# a build elsewhere needs directories like ours, which PGXS does not make
ifdef VPATH
$(shell mkdir -p $(sort $(dir $(OBJS))))
endif

# PGXS knows nothing of our headers
$(OBJS) $(OBJS:.o=.bc): $(wildcard $(srcdir)/src/*.h $(srcdir)/src/*/*.h)

# Bitcode of an earlier version would be taken for this one's.
ifneq ($(with_llvm), yes)
install uninstall: remove_bitcode
.PHONY: remove_bitcode
remove_bitcode:
	rm -rf '$(DESTDIR)$(pkglibdir)/bitcode/$(MODULE_big)' '$(DESTDIR)$(pkglibdir)/bitcode/$(MODULE_big).index.bc'
endif

# The last commit as an archive that PGXN takes; that needs no PostgreSQL
tree = $(or $(srcdir),.)
VERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(tree)/wallet_projection.control)

.PHONY: dist
dist:
	git -C $(tree) archive --format=zip --prefix=$(EXTENSION)-$(VERSION)/ \
		--output=$(CURDIR)/$(EXTENSION)-$(VERSION).zip HEAD
