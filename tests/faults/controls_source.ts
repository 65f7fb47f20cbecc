/**
 * The part of the forwarding library that is the same for every function: which call fails, and what is in use.
 *
 * @module
 */

/** C source; `SYMBOLS` is defined before it, `names` and `libraries` after it. */
export const CONTROLS = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not from the headers of the functions themselves, whose prototypes would not be those of the tables. */
#define MAP_FAILED ((void *) -1)

static atomic_long calls[SYMBOLS], all_calls, hits;
static atomic_long live_bytes, live_maps, live_contexts;
static atomic_int armed_error, armed_symbol;
static atomic_long armed_from, armed_to;
static _Thread_local char *last_injected;
static char injected_text[64];

static const char *const names[SYMBOLS];
static const char *const *const libraries[];

/* The real function. There is no way on without it. */
static void *resolve(int library, const char *name) {
  for (const char *const *each = libraries[library]; *each; each++) {
    void *handle = dlopen(*each, RTLD_NOW | RTLD_LOCAL);
    void *found = handle ? dlsym(handle, name) : NULL;
    if (found) return found;
  }
  fprintf(stderr, "The forwarding library does not find %s\\n", name);
  abort();
}

/* Counts a call; returns the errno that it is to fail with, or 0. */
static int due(int symbol) {
  long own = atomic_fetch_add(&calls[symbol], 1) + 1;
  long any = atomic_fetch_add(&all_calls, 1) + 1;
  last_injected = NULL;
  int error = atomic_load(&armed_error);
  if (!error) return 0;
  int wanted = atomic_load(&armed_symbol);
  if (wanted >= 0 && wanted != symbol) return 0;
  long at = wanted < 0 ? any : own;
  if (at < atomic_load(&armed_from) || at > atomic_load(&armed_to)) return 0;
  atomic_fetch_add(&hits, 1);
  last_injected = injected_text;
  return error;
}

/* Counts from 0 on, and lets calls number from to to of a function, or of all (-1), fail; an error of 0: none. */
void faults_arm(int symbol, int from, int to, int error) {
  atomic_store(&armed_error, 0);
  for (int index = 0; index < SYMBOLS; index++) atomic_store(&calls[index], 0);
  atomic_store(&all_calls, 0);
  atomic_store(&hits, 0);
  atomic_store(&armed_symbol, symbol);
  atomic_store(&armed_from, from);
  atomic_store(&armed_to, to);
  snprintf(injected_text, sizeof injected_text, "injected error %d", error);
  atomic_store(&armed_error, error);
}

/* Nothing fails from here on; what was counted stays. */
void faults_disarm(void) { atomic_store(&armed_error, 0); }

/* Calls of a function since faults_arm. */
int faults_calls(int symbol) { return (int) atomic_load(symbol < 0 ? &all_calls : &calls[symbol]); }

/* Calls that failed on purpose since faults_arm. */
int faults_hits(void) { return (int) atomic_load(&hits); }

/* What failing calls of munmap and io_destroy have kept, by their nature: given back before anything is measured. */
#define MAX_KEPT 64
static struct kept { void *at; size_t bytes; int (*give_back)(void *, size_t); } kept[MAX_KEPT];

static void keep(void *at, size_t bytes, int (*give_back)(void *, size_t)) {
  for (struct kept *each = kept; each < kept + MAX_KEPT; each++) {
    if (each->at && each->at != at) continue;
    *each = (struct kept) { at, bytes, give_back };
    return;
  }
}

/* A second attempt has worked. */
static void forget(void *at) {
  for (struct kept *each = kept; each < kept + MAX_KEPT; each++) if (each->at == at) each->at = NULL;
}

/* What is in use through the functions: bytes mapped, mappings, AIO contexts. */
void faults_ledger(double *out) {
  for (struct kept *each = kept; each < kept + MAX_KEPT; each++) {
    if (each->at) each->give_back(each->at, each->bytes);
  }
  out[0] = (double) live_bytes; out[1] = (double) live_maps; out[2] = (double) live_contexts;
}

/* PLUGIO_FAULT="NAME:FROM:TO:ERRNO" arms a process from its start; the name "*" means every function. */
__attribute__((constructor)) static void arm_from_environment(void) {
  const char *text = getenv("PLUGIO_FAULT");
  char name[64];
  int from, to, error;
  if (!text || sscanf(text, "%63[^:]:%d:%d:%d", name, &from, &to, &error) != 4) return;
  for (int symbol = -1; symbol < SYMBOLS; symbol++) {
    if (strcmp(symbol < 0 ? "*" : names[symbol], name) == 0) faults_arm(symbol, from, to, error);
  }
}

/* With PLUGIO_FAULT_LOG=FILE a process says at its end how many calls there were and how many failed. */
__attribute__((destructor)) static void log_at_end(void) {
  const char *path = getenv("PLUGIO_FAULT_LOG");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "%ld %ld\\n", (long) all_calls, (long) hits);
  fclose(file);
}
`;
