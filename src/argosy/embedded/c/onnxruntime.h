#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

/*
COMMENT
 *
 * All functions may be called from any number of threads at once. Those that ask the model give 0, or 1 for a value
 * that it does not take, or -1 where it fails; MODEL_error says why.
 */

#ifdef __cplusplus
extern "C" {
#endif

DIRECT/* A tensor: its values row by row (of texts: pointers to UTF-8 that ends with 0), its shape, its number of axes. */
typedef struct {
  void *data;
  int64_t shape[8];
  int32_t rank;
} MODEL_tensor;

/* Any number of rows, any length of a free axis. What is found has to be given to MODEL_release. */
int MODEL_run(const MODEL_tensor *inputs, MODEL_tensor *outputs);
void MODEL_release(MODEL_tensor *outputs);

/* What went wrong in the last call of this thread. */
const char *MODEL_error(void);

/* Before the first call: how many threads one call may use. One, if nobody says. */
void MODEL_threads(int most);

/* Replays the golden examples: 0, or 1 + the first one that is answered otherwise. */
int MODEL_selftest(void);

/* Names, shapes and classes, as JSON. */
const char *MODEL_signature(void);

#ifdef __cplusplus
}
#endif

#endif
