/* A CUDA driver, cuBLAS, cuBLASLt and cuRAND that compute nothing and count everything.
 *
 * What a program asks of a GPU can so be measured, and its failures be provoked, on a machine without one: memory is
 * numbers, every kernel is done at once, and what is copied back is zeros. At each synchronisation and at the end one JSON
 * object with the counts since the last one is appended to $NULL_OUT, if anything was computed.
 *
 * The environment makes it fail:
 *   NULL_DEVICES=N       there are so many devices, at most 64 (1)
 *   NULL_VERSION=12040   the newest CUDA that the driver speaks (13000)
 *   NULL_MEMORY=BYTES    memory of the device (141e9); an allocation beyond it fails
 *   NULL_LAUNCH=N        the launch of this number breaks its device's context: it and all that follows there fail
 *   NULL_WAIT=N          every copy back takes so many milliseconds, as what it waits for would on a card
 *   NULL_PRODUCT=N       the matrix product of this number finds no memory for its workspace
 *
 * Several devices and several threads of each are counted together, under one lock.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long u64;

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, ILLEGAL_ADDRESS = 700 };
enum { CUBLAS_ALLOC_FAILED = 3 };

/* ---- what is counted ---- */

#define KERNELS 1024
static char names[KERNELS][128];
static int known;

static struct {
  u64 launches, strided, elements, largest, products, allocations, frees, uploads, upload_bytes, downloads, download_bytes, events;
  double flop;
  char largest_name[128];
} now;
static u64 live, peak, all_launches, all_products;

/* The current context of each thread, which is that of its device. */
static __thread void *context;
static int device_of(void *context) { return context ? (int)(intptr_t)context - 0x1234 : 0; }

#define DEVICES 64
static int broken_devices[DEVICES];
#define broken (broken_devices[device_of(context)])

/* Held by whoever counts, from the declaration to the end of the function. */
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static void stop_counting(pthread_mutex_t **held) { pthread_mutex_unlock(*held); }
#define COUNTING                                                                \
  __attribute__((cleanup(stop_counting))) pthread_mutex_t *held = &counting;    \
  pthread_mutex_lock(held)

static u64 setting(const char *name, u64 otherwise) {
  const char *text = getenv(name);
  return text ? (u64)strtod(text, 0) : otherwise;
}

static void report(void) {
  const char *path = getenv("NULL_OUT");
  if (path && now.launches + now.products > 0) {
    FILE *out = fopen(path, "a");
    if (out) {
      fprintf(out,
              "{\"launches\": %llu, \"strided\": %llu, \"products\": %llu, \"gflop\": %.1f, \"uploads\": %llu, "
              "\"upload_mb\": %.1f, \"downloads\": %llu, \"download_kb\": %.1f, \"allocations\": %llu, \"events\": %llu, "
              "\"elements\": %llu, \"largest\": %llu, \"largest_kernel\": \"%s\", \"peak_mb\": %.0f, "
              "\"live_mb\": %.0f}\n",
              now.launches, now.strided, now.products, now.flop / 1e9, now.uploads, now.upload_bytes / 1e6, now.downloads, now.download_bytes / 1e3,
              now.allocations, now.events, now.elements, now.largest, now.largest_name, peak / 1e6, live / 1e6);
      fclose(out);
    }
  }
  memset(&now, 0, sizeof now);
  peak = live;
}

__attribute__((destructor)) static void report_at_the_end(void) { report(); }

/* ---- the sizes of what is allocated: an open-addressing table that lives as long as the process ---- */

#define SLOTS (1u << 20)
static u64 keys[SLOTS], sizes[SLOTS];
static u64 next_address = 0x100000000000ULL;

static u64 slot_of(u64 address) { return (address >> 9) * 0x9E3779B97F4A7C15ULL >> 44; }

static int allocate(u64 *address, size_t bytes) {
  COUNTING;
  if (broken) return ILLEGAL_ADDRESS;
  if (live + bytes > setting("NULL_MEMORY", 141000000000ULL)) return OUT_OF_MEMORY;
  *address = next_address;
  next_address += (bytes + 511) / 512 * 512 + (bytes ? 0 : 512);
  u64 slot = slot_of(*address);
  while (keys[slot] > 1) slot = (slot + 1) % SLOTS;
  keys[slot] = *address;
  sizes[slot] = bytes;
  live += bytes;
  if (live > peak) peak = live;
  now.allocations++;
  return SUCCESS;
}

static int let_go(u64 address) {
  COUNTING;
  if (broken) return ILLEGAL_ADDRESS;
  u64 slot = slot_of(address);
  for (u64 tried = 0; keys[slot] && tried < SLOTS; tried++, slot = (slot + 1) % SLOTS) {
    if (keys[slot] == address) {
      live -= sizes[slot];
      keys[slot] = 1; /* was used: a search goes on behind it */
      break;
    }
  }
  now.frees++;
  return SUCCESS;
}

/* ---- device, context, memory ---- */


int cuInit(unsigned flags) { return setting("NULL_DEVICES", 1) ? SUCCESS : NO_DEVICE; }
int cuDriverGetVersion(int *version) { *version = (int)setting("NULL_VERSION", 13000); return SUCCESS; }
int cuDeviceGetCount(int *count) { *count = (int)setting("NULL_DEVICES", 1); return SUCCESS; }
int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < (int)setting("NULL_DEVICES", 1) ? SUCCESS : INVALID_DEVICE;
}
/* Compute capability 9.0; every other attribute is 1. */
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1;
  return SUCCESS;
}
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "null"); return SUCCESS; }
int cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = (void *)0x44; return SUCCESS; }
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) { return SUCCESS; }
int cuDevicePrimaryCtxRetain(void **out, int device) { *out = (void *)(intptr_t)(0x1234 + device); return SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
int cuCtxGetCurrent(void **out) { *out = context; return SUCCESS; }
int cuCtxSetCurrent(void *given) { context = given; return SUCCESS; }
int cuCtxSynchronize(void) { COUNTING; report(); return broken ? ILLEGAL_ADDRESS : SUCCESS; }
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  *total = setting("NULL_MEMORY", 141000000000ULL);
  *free_bytes = *total - live;
  return SUCCESS;
}
int cuMemAllocAsync(u64 *address, size_t bytes, void *stream) { return allocate(address, bytes); }
int cuMemAlloc_v2(u64 *address, size_t bytes) { return allocate(address, bytes); }
int cuMemFreeAsync(u64 address, void *stream) { return let_go(address); }
int cuMemFree_v2(u64 address) { return let_go(address); }
int cuMemcpyHtoDAsync_v2(u64 to, const void *from, size_t bytes, void *stream) {
  COUNTING;
  now.uploads++;
  now.upload_bytes += bytes;
  return broken ? ILLEGAL_ADDRESS : SUCCESS;
}
int cuMemcpyDtoHAsync_v2(void *to, u64 from, size_t bytes, void *stream) {
  usleep(1000 * setting("NULL_WAIT", 0));
  COUNTING;
  now.downloads++;
  now.download_bytes += bytes;
  memset(to, 0, bytes);
  return broken ? ILLEGAL_ADDRESS : SUCCESS;
}
int cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, void *stream) { return broken ? ILLEGAL_ADDRESS : SUCCESS; }
int cuMemsetD8Async(u64 to, unsigned char value, size_t bytes, void *stream) { return broken ? ILLEGAL_ADDRESS : SUCCESS; }

/* ---- streams and events ---- */

int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)0x88; return SUCCESS; }
int cuStreamDestroy_v2(void *stream) { return SUCCESS; }
int cuStreamSynchronize(void *stream) { COUNTING; report(); return broken ? ILLEGAL_ADDRESS : SUCCESS; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return SUCCESS; }
int cuStreamIsCapturing(void *stream, int *capturing) { *capturing = 0; return SUCCESS; }
int cuEventCreate(void **event, unsigned flags) { COUNTING; now.events++; *event = (void *)0x77; return SUCCESS; }
int cuEventDestroy_v2(void *event) { return SUCCESS; }
int cuEventRecord(void *event, void *stream) { return SUCCESS; }
int cuEventSynchronize(void *event) { return SUCCESS; }

/* ---- modules and launches ---- */

int cuModuleLoadData(void **module, const void *image) { *module = (void *)0x99; return SUCCESS; }
int cuModuleUnload(void *module) { return SUCCESS; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  COUNTING;
  for (int i = 0; i < known; i++) {
    if (!strcmp(names[i], name)) { *function = (void *)(uintptr_t)(i + 1); return SUCCESS; }
  }
  if (known == KERNELS) return OUT_OF_MEMORY;
  snprintf(names[known], sizeof names[known], "%s", name);
  *function = (void *)(uintptr_t)(++known);
  return SUCCESS;
}
int cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 0; return SUCCESS; }

static int begins(const char *text, const char *start) { return !strncmp(text, start, strlen(start)); }

/* candle's kernels have the number of elements as their first argument and, where they can walk a strided tensor, the
 * number of dimensions and the address of dimensions and strides (0 when contiguous) behind it. Those that go by rows have
 * the width of a row instead. */
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
  COUNTING;
  all_launches++;
  if (all_launches == setting("NULL_LAUNCH", 0)) broken = 1;
  if (broken) return ILLEGAL_ADDRESS;
  const char *name = names[(uintptr_t)function - 1];
  u64 elements;
  if (begins(name, "picsift_")) {
    elements = (u64)gx * gy * gz * bx; /* threads; what each does is the kernel's own */
  } else if (begins(name, "softmax")) {
    elements = (u64)gx * *(unsigned *)arguments[2];
  } else if (begins(name, "layernorm")) {
    elements = (u64)gx * *(unsigned *)arguments[4];
  } else if (begins(name, "rmsnorm")) {
    elements = (u64)gx * *(unsigned *)arguments[3];
  } else if (begins(name, "fill")) {
    elements = *(u64 *)arguments[2];
  } else if (begins(name, "copy2d")) {
    elements = (u64)gx * bx;
  } else {
    elements = *(u64 *)arguments[0];
    if (!begins(name, "is_") && !begins(name, "fast_") && *(u64 *)arguments[2]) now.strided++;
  }
  now.launches++;
  now.elements += elements;
  if (elements > now.largest) {
    now.largest = elements;
    snprintf(now.largest_name, sizeof now.largest_name, "%s", name);
  }
  return SUCCESS;
}

int cuGetErrorName(int error, const char **text) {
  *text = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR";
  return SUCCESS;
}
int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

/* ---- cuBLAS ---- */

int cublasCreate_v2(void **handle) { *handle = (void *)0x55; return SUCCESS; }
int cublasDestroy_v2(void *handle) { return SUCCESS; }
int cublasSetStream_v2(void *handle, void *stream) { return SUCCESS; }
int cublasGemmStridedBatchedEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at,
                               int lda, long long sa, const void *b, int bt, int ldb, long long sb, const void *beta, void *c,
                               int ct, int ldc, long long sc, int batch, int compute, int algorithm) {
  COUNTING;
  if (++all_products == setting("NULL_PRODUCT", 0)) return CUBLAS_ALLOC_FAILED;
  if (broken) return 13; /* CUBLAS_STATUS_EXECUTION_FAILED */
  now.products++;
  now.flop += 2.0 * m * n * (double)k * batch;
  return SUCCESS;
}

/* ---- cuBLASLt: layouts keep their sizes, from which a product's are told ---- */

struct layout { u64 rows, columns; };
struct description { int transposed; };

int cublasLtCreate(void **handle) { *handle = (void *)0x33; return SUCCESS; }
int cublasLtDestroy(void *handle) { return SUCCESS; }
int cublasLtMatrixLayoutCreate(void **layout, int type, u64 rows, u64 columns, long long step) {
  struct layout *made = malloc(sizeof *made);
  made->rows = rows;
  made->columns = columns;
  *layout = made;
  return SUCCESS;
}
int cublasLtMatrixLayoutDestroy(void *layout) { free(layout); return SUCCESS; }
int cublasLtMatmulDescCreate(void **description, int compute, int scale) {
  *description = calloc(1, sizeof(struct description));
  return SUCCESS;
}
int cublasLtMatmulDescDestroy(void *description) { free(description); return SUCCESS; }
int cublasLtMatmulDescSetAttribute(void *description, int attribute, const void *value, size_t bytes) {
  if (attribute == 3) ((struct description *)description)->transposed = *(const int *)value; /* TRANSA */
  return SUCCESS;
}
int cublasLtMatmulPreferenceCreate(void **preference) { *preference = (void *)0x22; return SUCCESS; }
int cublasLtMatmulPreferenceDestroy(void *preference) { return SUCCESS; }
int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value, size_t bytes) { return SUCCESS; }
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *description, void *a, void *b, void *c, void *d, void *preference,
                                   int wanted, void *results, int *found) {
  memset(results, 0, 64 + sizeof(size_t) + sizeof(int) + sizeof(float) + 4 * sizeof(int));
  *found = 1;
  return SUCCESS;
}
int cublasLtMatmul(void *handle, void *description, const void *alpha, const void *a, void *a_layout, const void *b,
                   void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                   const void *algorithm, void *workspace, size_t workspace_bytes, void *stream) {
  COUNTING;
  if (++all_products == setting("NULL_PRODUCT", 0)) return CUBLAS_ALLOC_FAILED;
  if (broken) return 13; /* CUBLAS_STATUS_EXECUTION_FAILED */
  const struct layout *left = a_layout, *out = d_layout;
  const u64 inner = ((struct description *)description)->transposed ? left->rows : left->columns;
  now.products++;
  now.flop += 2.0 * out->rows * out->columns * inner;
  return SUCCESS;
}

/* ---- cuRAND ---- */

int curandCreateGenerator(void **generator, int kind) { *generator = (void *)0x66; return SUCCESS; }
int curandDestroyGenerator(void *generator) { return SUCCESS; }
int curandSetPseudoRandomGeneratorSeed(void *generator, u64 seed) { return SUCCESS; }
int curandSetStream(void *generator, void *stream) { return SUCCESS; }
int curandGenerateUniform(void *generator, float *values, size_t count) { return SUCCESS; }
