/*
 * support.c
 *		What the plain C tests share: memory, random numbers, TAP.
 *
 * Every palloc is a malloc of its own, so that AddressSanitizer sees its
 * bounds; a list of them stands in for a memory context.
 */
#include "postgres.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

/* Fresh memory holds this, never zeros by luck. */
#define GARBAGE 0x7F

typedef struct Chunk
{
	struct Chunk *next;
	struct Chunk *previous;
	int64		data[];			/* so that it is aligned */
} Chunk;

static Chunk arena = {.next = &arena,.previous = &arena};
static uint64_t seed_now;
static uint64_t random_state;
static long step_now;
static int	tests;
static int	failures;

static void *
link_chunk(Chunk *chunk)
{
	if (chunk == NULL)
	{
		printf("Bail out! out of memory\n");
		exit(1);
	}
	chunk->next = arena.next;
	chunk->previous = &arena;
	chunk->next->previous = chunk;
	arena.next = chunk;
	return chunk->data;
}

static void
unlink_chunk(Chunk *chunk)
{
	chunk->next->previous = chunk->previous;
	chunk->previous->next = chunk->next;
}

void *
palloc(size_t size)
{
	void	   *data = link_chunk(malloc(sizeof(Chunk) + size));

	return memset(data, GARBAGE, size);
}

static Chunk *
chunk_of(void *pointer)
{
	return (Chunk *) ((char *) pointer - offsetof(Chunk, data));
}

void *
repalloc(void *pointer, size_t size)
{
	Chunk	   *chunk = chunk_of(pointer);

	unlink_chunk(chunk);
	return link_chunk(realloc(chunk, sizeof(Chunk) + size));
}

void
pfree(void *pointer)
{
	unlink_chunk(chunk_of(pointer));
	free(chunk_of(pointer));
}

void
arena_reset(void)
{
	while (arena.next != &arena)
	{
		Chunk	   *chunk = arena.next;

		unlink_chunk(chunk);
		free(chunk);
	}
}

void
assert_failed(const char *condition, const char *file, int line)
{
	if (step_now > 0)
		note_step();
	printf("not ok - Assert(%s) at %s:%d\n", condition, file, line);
	exit(1);
}

/* There with the sanitizers only. */
extern void __sanitizer_set_death_callback(void (*callback) (void))
			__attribute__((weak));

static void
sanitizer_failed(void)
{
	if (step_now > 0)
		note_step();
	printf("not ok - the sanitizer found nothing wrong\n");
}

void
start(void)
{
	/* whatever ends the program, what it has printed stays */
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (__sanitizer_set_death_callback != NULL)
		__sanitizer_set_death_callback(sanitizer_failed);
}

void
random_start(uint64_t seed)
{
	seed_now = seed;
	random_state = seed;
	step_now = 0;
}

void
random_step(long step)
{
	step_now = step;
}

/* The splitmix64 generator. */
uint64_t
random_bits(void)
{
	uint64_t	bits = (random_state += UINT64_C(0x9E3779B97F4A7C15));

	bits = (bits ^ (bits >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	bits = (bits ^ (bits >> 27)) * UINT64_C(0x94D049BB133111EB);
	return bits ^ (bits >> 31);
}

/* 0..limit-1 */
int
random_below(int limit)
{
	return (int) (random_bits() % (uint64_t) limit);
}

bool
random_chance(int percent)
{
	return random_below(100) < percent;
}

/* Short enough to be typed again. */
uint64_t
default_seed(void)
{
	random_start((uint64_t) time(NULL) ^ ((uint64_t) getpid() << 32));
	return 1 + random_bits() % 1000000000;
}

void
ok(bool passed, const char *name,...)
{
	va_list		arguments;

	tests++;
	if (!passed)
		failures++;
	printf("%s - ", passed ? "ok" : "not ok");
	va_start(arguments, name);
	vprintf(name, arguments);
	va_end(arguments);
	putchar('\n');
}

void
note(const char *format,...)
{
	va_list		arguments;

	printf("# ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

void
note_step(void)
{
	note("seed %" PRIu64 ", step %ld", seed_now, step_now);
}

int
finish(void)
{
	arena_reset();
	printf("1..%d\n", tests);
	return failures > 0 ? 1 : 0;
}

long
positive_argument(const char *argument, const char *what)
{
	char	   *end;
	long		value;

	errno = 0;
	value = strtol(argument, &end, 10);
	if (errno != 0 || end == argument || *end != '\0' || value < 1)
	{
		fprintf(stderr, "%s must be a number above 0: \"%s\"\n", what, argument);
		exit(2);
	}
	return value;
}

bool
set_is_sound(const NumberSet *set)
{
	if (set->count < 0 || set->count > set->capacity)
		return false;
	for (int i = 0; i < set->count; i++)
	{
		if (set->ranges[i].first > set->ranges[i].last)
			return false;
		if (i > 0 && set->ranges[i].first - 1 <= set->ranges[i - 1].last)
			return false;
	}
	return true;
}

const char *
show(const NumberSet *set)
{
	/* two numbers of at most 20 characters, and two signs between them */
	size_t		size = (size_t) set->count * 42 + 1;
	char	   *shown = palloc(size);
	size_t		used = 0;

	shown[0] = '\0';
	for (int i = 0; i < set->count; i++)
	{
		const NumberRange *range = &set->ranges[i];

		used += snprintf(shown + used, size - used, "%s%" PRId64,
						 i > 0 ? " " : "", range->first);
		if (range->last != range->first)
			used += snprintf(shown + used, size - used, "-%" PRId64,
							 range->last);
	}
	return shown;
}
