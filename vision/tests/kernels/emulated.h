// The kernels' hardware on a CPU: every thread of a block is a fiber, blocks run one after another.
//
// Takes the place of `warp.cuh`, whose comments say what each function is. A fiber goes on until it waits for its warp or its
// block; one that waits for threads that never come is reported as a deadlock.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))

typedef unsigned int u32;
typedef unsigned long long u64;

struct bf16 {
  unsigned short bits;
};
struct uint4 {
  u32 x, y, z, w;
};
struct Index {
  u32 x, y, z;
};

static Index blockIdx, blockDim, gridDim;

struct Fiber {
  // Where it begins, and where it goes on once it has: a jump asks nothing of the system.
  ucontext_t begin;
  jmp_buf resume;
  bool begun;
  std::vector<char> stack;
  Index thread;
  bool done;
};

// Threads that wait for each other.
struct Meeting {
  u32 members, arrived, held;
  // What each has brought.
  float values[32];
  u32 words[32][8];
  const bf16 *rows[32];
  int any;
};

static std::vector<Fiber> fibers;
static std::vector<Meeting> warps;
static Meeting block;
static Fiber *current;
static jmp_buf scheduler;
static std::function<void()> body;
// Whether any fiber has come further since the last look.
static bool moved;

#define threadIdx (current->thread)

static void pause() {
  if (!_setjmp(current->resume)) _longjmp(scheduler, 1);
}

static void go_on(Fiber &fiber) {
  current = &fiber;
  if (_setjmp(scheduler)) return;
  if (fiber.begun) _longjmp(fiber.resume, 1);
  fiber.begun = true;
  setcontext(&fiber.begin);
}

static void meet(Meeting &meeting) {
  const u32 held = meeting.held;
  moved = true;
  if (++meeting.arrived == meeting.members) {
    meeting.arrived = 0;
    meeting.held++;
    return;
  }
  while (meeting.held == held) pause();
  moved = true;
}

static void run_fiber() {
  body();
  current->done = moved = true;
  pause();
}

static void launch(Index grid, u32 threads, std::function<void()> kernel) {
  body = kernel;
  gridDim = grid;
  blockDim = Index{threads, 1, 1};
  for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
    for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
      for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) {
        if (fibers.size() != threads) fibers = std::vector<Fiber>(threads);
        warps.assign((threads + 31) / 32, Meeting{});
        for (Meeting &warp : warps) warp.members = 32;
        block = Meeting{};
        block.members = threads;
        for (u32 i = 0; i < threads; i++) {
          Fiber &fiber = fibers[i];
          fiber.stack.resize(1 << 16);
          fiber.thread = Index{i, 0, 0};
          fiber.done = fiber.begun = false;
          getcontext(&fiber.begin);
          fiber.begin.uc_stack.ss_sp = fiber.stack.data();
          fiber.begin.uc_stack.ss_size = fiber.stack.size();
          fiber.begin.uc_link = 0;
          makecontext(&fiber.begin, run_fiber, 0);
        }
        for (u32 left = threads; left > 0;) {
          moved = false;
          left = 0;
          for (Fiber &fiber : fibers) {
            if (fiber.done) continue;
            go_on(fiber);
            left += !fiber.done;
          }
          if (left > 0 && !moved) {
            fprintf(stderr, "%u threads of block %u %u %u wait for ever\n", left, blockIdx.x, blockIdx.y, blockIdx.z);
            exit(2);
          }
        }
      }
}

static void __syncthreads() { meet(block); }
static int __syncthreads_or(int x) {
  meet(block); // nobody reads the last one any more
  block.any = 0;
  meet(block);
  block.any |= x;
  meet(block);
  return block.any;
}

static inline float to_float(bf16 x) {
  const u32 bits = (u32)x.bits << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
static inline float to_float(float x) { return x; }
template <typename T> T from_float(float x);
template <> inline float from_float<float>(float x) { return x; }
// To the nearest, ties to even.
template <> inline bf16 from_float<bf16>(float x) {
  u32 bits;
  memcpy(&bits, &x, 4);
  if (x != x) return bf16{0x7fff};
  return bf16{(unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
static inline u32 pack(float low, float high) {
  return from_float<bf16>(low).bits | (u32)from_float<bf16>(high).bits << 16;
}
static inline float part(u32 both, int index) { return to_float(bf16{(unsigned short)(both >> 16 * index)}); }

static Meeting &own_warp() { return warps[current->thread.x / 32]; }
static int own_lane() { return (int)(current->thread.x % 32); }

static void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  Meeting &warp = own_warp();
  const int lane = own_lane();
  const u32 words[6] = {a[0], a[1], a[2], a[3], b0, b1};
  memcpy(warp.words[lane], words, sizeof words);
  meet(warp);
  for (int i = 0; i < 4; i++) {
    const int row = lane / 4 + i / 2 * 8, column = 2 * (lane % 4) + i % 2;
    float sum = 0;
    for (int k = 0; k < 16; k++) {
      // Which thread and which of its words hold element k of the row, and of the column.
      const u32 left = warp.words[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
      const u32 right = warp.words[column * 4 + k % 8 / 2][4 + k / 8];
      sum += part(left, k % 2) * part(right, k % 2);
    }
    c[i] += sum;
  }
  meet(warp);
}

static void load_transposed(u32 (&x)[4], const bf16 *row) {
  Meeting &warp = own_warp();
  const int lane = own_lane();
  if ((u64)row % 16) {
    fprintf(stderr, "a row of a matrix at an address that is no multiple of 16\n");
    exit(2);
  }
  warp.rows[lane] = row;
  meet(warp);
  for (int i = 0; i < 4; i++) {
    const u32 low = warp.rows[i * 8 + 2 * (lane % 4)][lane / 4].bits;
    const u32 high = warp.rows[i * 8 + 2 * (lane % 4) + 1][lane / 4].bits;
    x[i] = low | high << 16;
  }
  meet(warp);
}

static float broadcast(float x, int lane) {
  Meeting &warp = own_warp();
  warp.values[own_lane()] = x;
  meet(warp);
  const float value = warp.values[lane];
  meet(warp);
  return value;
}
static float exchange(float x, int bits) { return broadcast(x, own_lane() ^ bits); }
static inline float power_of_two(float x) { return exp2f(x); }
