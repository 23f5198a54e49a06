/* A model over onnxruntime's C library, which is opened when the first row comes. MODEL stands for its name. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "MODEL.h"

#define RANK (int)(sizeof(((MODEL_tensor *)0)->shape) / sizeof(int64_t))

/* An input or output. `limits`, `gaps`: for each column of the last axis, or one for all; `categories`: the texts that
   an input takes, if not all. `checked`: whether the model takes some values only. */
struct port {
  const char *name;
  int32_t type, rank, checked, columns, texts;
  const int64_t *shape;
  const double *limits;
  const unsigned char *gaps;
  const char *const *categories;
};

/* A golden tensor: where it is in the file of them. */
struct golden {
  size_t at;
  int64_t shape[8];
  int32_t rank;
};

#include "tables.h"

enum { FLOAT = 1, TEXT = 8, HALF = 10, DOUBLE = 11, BRAIN = 16, VERSION = 17 };
static const int WIDTH[] = {0, 4, 1, 1, 2, 2, 4, 8, sizeof(char *), 1, 2, 8, 4, 8, 0, 0, 2};

typedef void *status;

/* The members of OrtApi that are called. Those of a version never move: later ones are added at the end. */
struct api {
  void *at_0[2];
  const char *(*error_message)(const void *);
  status (*create_env)(int, const char *, void **);
  void *at_4[4];
  status (*create_session)(void *, const void *, size_t, const void *, void **);
  status (*run)(void *, const void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **);
  status (*create_options)(void **);
  void *at_11[13];
  status (*set_threads)(void *, int);
  void *at_25[23];
  status (*create_texts)(void *, const int64_t *, size_t, int, void **);
  status (*create_tensor)(const void *, void *, size_t, const int64_t *, size_t, int, void **);
  void *at_50;
  status (*data)(void *, void **);
  status (*fill_texts)(void *, const char *const *, size_t);
  status (*texts_length)(const void *, size_t *);
  status (*texts)(const void *, void *, size_t, size_t *, size_t);
  void *at_55[6];
  status (*rank)(const void *, size_t *);
  status (*shape)(const void *, int64_t *, size_t);
  void *at_63[2];
  status (*form)(const void *, void **);
  void *at_66[3];
  status (*cpu)(int, int, void **);
  void *at_70[8];
  status (*allocator)(void **);
  void *at_79[14];
  void (*release_status)(void *);
  void *at_94[2];
  void (*release_value)(void *);
  void *at_97[2];
  void (*release_form)(void *);
  void (*release_options)(void *);
  void *at_101[29];
  status (*add_entry)(void *, const char *, const char *);
  void *at_131[85];
  status (*add_provider)(void *, const char *, const char *const *, const char *const *, size_t);
};
_Static_assert(offsetof(struct api, run) == 9 * sizeof(void *), "Run");
_Static_assert(offsetof(struct api, data) == 51 * sizeof(void *), "GetTensorMutableData");
_Static_assert(offsetof(struct api, release_options) == 100 * sizeof(void *), "ReleaseSessionOptions");
_Static_assert(offsetof(struct api, add_provider) == 216 * sizeof(void *), "SessionOptionsAppendExecutionProvider");

struct base {
  const struct api *(*get)(uint32_t);
  const char *(*version)(void);
};

__asm__(".pushsection .rodata\n.balign 64\nmodel_begin: .incbin \"model.onnx\"\nmodel_end: .byte 0\n"
        ".balign 64\ngolden_begin: .incbin \"golden.bin\"\n.byte 0\n.popsection");
extern const unsigned char model_begin[] __attribute__((visibility("hidden")));
extern const unsigned char model_end[] __attribute__((visibility("hidden")));
extern const unsigned char golden_begin[] __attribute__((visibility("hidden")));

static const struct api *api;
static void *session, *memory, *allocator;
static int threads = 1;
static char unopened[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local char said[512];

static int failed(status found)
{
  if (!found)
    return 0;
  snprintf(said, sizeof said, "onnxruntime: %s", api->error_message(found));
  api->release_status(found);
  return -1;
}

/* onnxruntime beside this library, else where the system has it. */
static void *beside(void)
{
  static const char file[] = "libonnxruntime.so.1";
  char path[4096];
  const char *end;
  void *found = NULL;
  Dl_info self;
  if (dladdr(model_begin, &self) && (end = strrchr(self.dli_fname, '/')) &&
      end + sizeof file + 1 < self.dli_fname + sizeof path) {
    memcpy(path, self.dli_fname, end + 1 - self.dli_fname);
    strcpy(path + (end + 1 - self.dli_fname), file);
    found = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  return found ? found : dlopen(file, RTLD_NOW | RTLD_LOCAL);
}

static void begin(void)
{
  void *library = beside(), *env, *options = NULL;
  const struct base *(*find)(void) = NULL;
  *said = 0;
  if (library)
    *(void **)&find = dlsym(library, "OrtGetApiBase");
  if (!find)
    snprintf(unopened, sizeof unopened, "%s", dlerror());
  else if (!(api = find()->get(VERSION)))
    snprintf(unopened, sizeof unopened, "onnxruntime %s is too old: 1.17 or later is needed", find()->version());
  else if (failed(api->create_env(4, "MODEL", &env)) || failed(api->create_options(&options)) ||
           failed(api->set_threads(options, threads)) ||
           failed(api->add_entry(options, "session.intra_op.allow_spinning", "0")) ||
           (PROVIDER && (failed(api->add_entry(options, "session.disable_cpu_ep_fallback", "1")) ||
                         failed(api->add_provider(options, PROVIDER, KEYS, VALUES, SETTINGS)))) ||
           failed(api->create_session(env, model_begin, model_end - model_begin, options, &session)) ||
           failed(api->cpu(1, 0, &memory)) || failed(api->allocator(&allocator)))
    snprintf(unopened, sizeof unopened, "%s", said);
  if (options)
    api->release_options(options);
}

static int opened(void)
{
  pthread_once(&once, begin);
  if (*unopened)
    snprintf(said, sizeof said, "%s", unopened);
  return *unopened ? -1 : 0;
}

const char *MODEL_error(void)
{
  return said;
}

void MODEL_threads(int most)
{
  threads = most;
}

static int64_t count(const MODEL_tensor *tensor)
{
  int64_t all = 1;
  int at;
  for (at = 0; at < tensor->rank; at++)
    all *= tensor->shape[at];
  return all;
}

/* 0, or 1 + the first row with a value that the model does not take. */
static int64_t refused(const struct port *port, const MODEL_tensor *given)
{
  int64_t all = count(given), at, text;
  int64_t row = given->rank && given->shape[0] ? all / given->shape[0] : 1;
  const char *what = NULL;
  for (at = 0; port->checked && at < all; at++) {
    int column = port->columns == 1 ? 0 : (int)(at % port->columns);
    if (port->type == TEXT) {
      const char *value = ((const char *const *)given->data)[at];
      for (text = 0; text < port->texts && strcmp(value, port->categories[text]);)
        text++;
      if (!*value ? !port->gaps[column] : port->texts && text == port->texts)
        what = *value ? "a category is not known" : "a value is missing";
    } else {
      double value = port->type == FLOAT ? ((const float *)given->data)[at] : ((const double *)given->data)[at];
      if (value != value ? !port->gaps[column] : (value < 0 ? -value : value) > port->limits[column])
        what = value != value ? "a value is missing" : "a value is too large";
    }
    if (what) {
      snprintf(said, sizeof said, "input '%s', row %lld: %s", port->name, (long long)(at / row), what);
      return at / row + 1;
    }
  }
  return 0;
}

/* A tensor as onnxruntime's value, over the same memory but for texts. */
static int wrapped(const struct port *port, const MODEL_tensor *given, void **value)
{
  int at, wrong = given->rank != port->rank;
  for (at = 0; !wrong && at < port->rank; at++)
    wrong = given->shape[at] < 0 || (port->shape[at] >= 0 && port->shape[at] != given->shape[at]);
  if (wrong) {
    snprintf(said, sizeof said, "'%s' has another shape than the model takes", port->name);
    return -1;
  }
  if (port->type == TEXT)
    return failed(api->create_texts(allocator, given->shape, port->rank, TEXT, value)) ||
                   failed(api->fill_texts(*value, given->data, count(given)))
               ? -1
               : 0;
  return failed(api->create_tensor(memory, given->data, count(given) * WIDTH[port->type], given->shape, port->rank,
                                   port->type, value));
}

/* A copy of an answer, in one piece of memory; texts end with 0, after the pointers to them. */
static int copied(const struct port *port, void *value, MODEL_tensor *found)
{
  void *form = NULL, *data;
  size_t rank = 0, length = 0, all, at, end;
  size_t *offsets;
  int bad = failed(api->form(value, &form)) || failed(api->rank(form, &rank));
  if (!bad && rank > (size_t)RANK) {
    snprintf(said, sizeof said, "output '%s' has more than %d axes", port->name, RANK);
    bad = 1;
  }
  found->rank = (int32_t)rank;
  bad = bad || failed(api->shape(form, found->shape, rank));
  if (form)
    api->release_form(form);
  if (bad)
    return -1;
  all = (size_t)count(found);
  if (port->type != TEXT) {
    if (failed(api->data(value, &data)))
      return -1;
    if ((found->data = malloc(all * WIDTH[port->type] + 1)) && all)
      memcpy(found->data, data, all * WIDTH[port->type]);
  } else {
    char **texts, *from, *to;
    if (failed(api->texts_length(value, &length)))
      return -1;
    texts = malloc(all * (sizeof(char *) + sizeof(size_t) + 1) + 2 * length + 1);
    if ((found->data = texts)) {
      offsets = (size_t *)(texts + all);
      to = (char *)(offsets + all);
      from = to + all + length;
      if (failed(api->texts(value, from, length, offsets, all)))
        return -1;
      for (at = 0; at < all; at++) {
        end = at + 1 < all ? offsets[at + 1] : length;
        texts[at] = to;
        memcpy(to, from + offsets[at], end - offsets[at]);
        to += end - offsets[at];
        *to++ = 0;
      }
    }
  }
  if (!found->data)
    snprintf(said, sizeof said, "no memory for output '%s'", port->name);
  return found->data ? 0 : -1;
}

/* `given`: the outputs have shapes and memory of the caller's. */
static int64_t answer(const MODEL_tensor *inputs, MODEL_tensor *outputs, int given)
{
  const char *names[INPUTS], *wanted[OUTPUTS];
  void *values[INPUTS] = {NULL}, *found[OUTPUTS] = {NULL};
  int64_t wrong;
  int at;
  *said = 0;
  wrong = opened();
  for (at = 0; at < INPUTS && !wrong; at++) {
    names[at] = INPUT[at].name;
    if (!(wrong = wrapped(&INPUT[at], &inputs[at], &values[at])))
      wrong = refused(&INPUT[at], &inputs[at]);
  }
  for (at = 0; at < OUTPUTS; at++) {
    wanted[at] = OUTPUT[at].name;
    if (!wrong && given)
      wrong = wrapped(&OUTPUT[at], &outputs[at], &found[at]);
  }
  if (!wrong)
    wrong = failed(api->run(session, NULL, names, values, INPUTS, wanted, OUTPUTS, found));
  for (at = 0; at < OUTPUTS && !given && !wrong; at++)
    wrong = copied(&OUTPUT[at], found[at], &outputs[at]);
  for (at = 0; at < INPUTS; at++)
    if (values[at])
      api->release_value(values[at]);
  for (at = 0; at < OUTPUTS; at++)
    if (found[at])
      api->release_value(found[at]);
  return wrong;
}

void MODEL_release(MODEL_tensor *outputs)
{
  int at;
  for (at = 0; at < OUTPUTS; at++) {
    free(outputs[at].data);
    outputs[at].data = NULL;
  }
}

int MODEL_run(const MODEL_tensor *inputs, MODEL_tensor *outputs)
{
  int64_t wrong;
  memset(outputs, 0, OUTPUTS * sizeof *outputs);
  if ((wrong = answer(inputs, outputs, 0)))
    MODEL_release(outputs);
  return wrong > 0 ? 1 : (int)wrong;
}

#if FIXED
/* Tensors of so many rows over the memory that is given: `ways` are inputs, then outputs. */
static int64_t rows_of(int64_t rows, const void *const *ways)
{
  MODEL_tensor tensors[INPUTS + OUTPUTS];
  int at;
  for (at = 0; at < INPUTS + OUTPUTS; at++) {
    const struct port *port = at < INPUTS ? &INPUT[at] : &OUTPUT[at - INPUTS];
    tensors[at].data = (void *)ways[at];
    tensors[at].rank = port->rank;
    memcpy(tensors[at].shape, port->shape, port->rank * sizeof(int64_t));
    if (BATCHED)
      tensors[at].shape[0] = rows;
  }
  return answer(tensors, tensors + INPUTS, 1);
}

FUNCTIONS
#endif

static float wide(const unsigned char *data, int type, int64_t at)
{
  uint16_t bits = ((const uint16_t *)data)[at];
  uint32_t made = (uint32_t)bits << 16, more;
  float value;
  if (type == HALF) {
    more = bits >> 10 & 31;
    made = (uint32_t)(bits & 0x8000) << 16 | (more == 31 ? 255u << 23 : (more + 112) << 23) | (bits & 1023u) << 13;
    if (!more)
      return (bits & 0x8000 ? -1.0f : 1.0f) * (bits & 1023) / 16777216.0f;
  }
  memcpy(&value, &made, sizeof value);
  return value;
}

static double number(const void *data, int type, int64_t at)
{
  return type == FLOAT ? ((const float *)data)[at] : type == DOUBLE ? ((const double *)data)[at] : wide(data, type, at);
}

static int same(int type, const void *got, const void *want, int64_t at)
{
  int floats = type == FLOAT || type == DOUBLE || type == HALF || type == BRAIN;
  double one, other, gap;
  if (type == TEXT)
    return !strcmp(((const char *const *)got)[at], ((const char *const *)want)[at]);
  if (!floats)
    return !memcmp((const char *)got + at * WIDTH[type], (const char *)want + at * WIDTH[type], WIDTH[type]);
  one = number(got, type, at);
  other = number(want, type, at);
  gap = one > other ? one - other : other - one;
  return one == other || (one != one && other != other) || gap <= ATOL + RTOL * (other < 0 ? -other : other);
}

/* A golden tensor; texts through pointers, to be freed. */
static int64_t recorded(const struct golden *from, int type, MODEL_tensor *tensor)
{
  const char *text = (const char *)golden_begin + from->at;
  int64_t at, all;
  memcpy(tensor->shape, from->shape, sizeof tensor->shape);
  tensor->rank = from->rank;
  tensor->data = (void *)(golden_begin + from->at);
  all = count(tensor);
  if (type == TEXT && (tensor->data = malloc((all + 1) * sizeof(char *))))
    for (at = 0; at < all; at++, text += strlen(text) + 1)
      ((const char **)tensor->data)[at] = text;
  return all;
}

int MODEL_selftest(void)
{
  MODEL_tensor given[INPUTS], found[OUTPUTS], want[OUTPUTS];
  int64_t all, each, row;
  int at, wrong = 0;
  memset(found, 0, sizeof found);
  for (at = 0; at < INPUTS; at++)
    recorded(&GOLDEN[at], INPUT[at].type, &given[at]);
  if (MODEL_run(given, found))
    wrong = 1;
  for (at = 0; at < OUTPUTS; at++) {
    all = recorded(&GOLDEN[INPUTS + at], OUTPUT[at].type, &want[at]);
    row = BATCHED && want[at].shape[0] ? all / want[at].shape[0] : all;
    if (!wrong && (want[at].rank != found[at].rank || memcmp(want[at].shape, found[at].shape, 8 * want[at].rank))) {
      wrong = 1;
      snprintf(said, sizeof said, "output '%s' has another shape", OUTPUT[at].name);
    }
    for (each = 0; each < all && !wrong; each++)
      if (!same(OUTPUT[at].type, found[at].data, want[at].data, each)) {
        wrong = (int)(each / row) + 1;
        snprintf(said, sizeof said, "output '%s' [%lld] is another", OUTPUT[at].name, (long long)each);
      }
    if (OUTPUT[at].type == TEXT)
      free(want[at].data);
  }
  for (at = 0; at < INPUTS; at++)
    if (INPUT[at].type == TEXT)
      free(given[at].data);
  MODEL_release(found);
  return wrong;
}
